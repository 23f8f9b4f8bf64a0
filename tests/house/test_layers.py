"""The layers of the package, as the import contracts draw them."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.house.project import ROOT, dotted, place, python_files, tree

PURE = {"msgspec", "inferpool"}
# What the standard library has of input, output, clocks, chance or threads: core may not know it.
IMPURE = {
    "asyncio", "concurrent", "contextvars", "ctypes", "http", "io", "logging", "mmap", "multiprocessing", "os",
    "pathlib", "queue", "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip


PORTS = tuple(f"inferpool.store.{name}." for name in ("protocol", "access_protocol", "servers_protocol"))


def imported(path: Path) -> list[tuple[str, ast.stmt]]:
    """The top-level name of each import of the file, type-checking ones and late ones included."""
    found: list[tuple[str, ast.stmt]] = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name.split(".")[0], node) for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            found.append(((node.module or "").split(".")[0], node))
    return found


def test_every_import_contract_is_kept() -> None:
    checked = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout


def test_core_imports_nothing_but_the_pure_standard_library() -> None:
    allowed = (set(sys.stdlib_module_names) - IMPURE) | PURE
    core = python_files("src/inferpool/core")
    assert [
        f"{place(path, node)}: {name}" for path in core for name, node in imported(path) if name not in allowed
    ] == []


def test_core_reads_no_clock_through_the_calendar() -> None:
    attributes = [(path, node) for path in python_files("src/inferpool/core") for node in ast.walk(tree(path))]
    clocks = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    found = [
        place(path, node) for path, node in attributes if isinstance(node, ast.Attribute) and dotted(node) in clocks
    ]
    assert found == []


def test_imports_stand_at_the_top_of_their_module() -> None:
    late = [
        place(path, node)
        for path in python_files("src")
        if not path.is_relative_to(ROOT / "src" / "inferpool" / "cli")  # a command loads what it needs when it runs
        for function in ast.walk(tree(path))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert late == []


def test_server_and_dispatch_know_the_store_by_its_port_alone() -> None:
    found = [
        place(path, node)
        for path in python_files("src/inferpool/server", "src/inferpool/dispatch")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in full_names(node)
        if name.startswith("inferpool.store") and not f"{name}.".startswith(PORTS)
    ]
    assert found == []


def full_names(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The whole name of each thing that the statement imports."""
    before = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    return [before + alias.name for alias in node.names]
