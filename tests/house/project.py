"""The project's own files, read once for every house test."""

import ast
import io
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "inferpool"

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


class Comment(NamedTuple):
    """One comment of a Python file, with its mark `#`."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.text}"


@cache
def files() -> tuple[Path, ...]:
    """Every file that git knows or would add, sorted."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = sorted({ROOT / name for name in listed.split("\0") if name})
    return tuple(path for path in paths if path.is_file())


def python_files(*folders: str) -> list[Path]:
    """The Python files under `folders` (relative to the root), or all of them."""
    inside = [ROOT / folder for folder in folders] or [ROOT]
    return [path for path in files() if path.suffix == ".py" and any(path.is_relative_to(top) for top in inside)]


@cache
def text(path: Path) -> str:
    """The file's text."""
    return path.read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(text(path), filename=str(path))


def functions(path: Path) -> Iterator[Function]:
    """Every function or method of the file, however deep."""
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def classes(path: Path) -> Iterator[ast.ClassDef]:
    """Every class of the file, however deep."""
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))


@cache
def comments(path: Path) -> tuple[Comment, ...]:
    """Every comment of the file."""
    tokens = tokenize.generate_tokens(io.StringIO(text(path)).readline)
    return tuple(Comment(path, token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT)


def place(path: Path, node: ast.stmt | ast.expr | ast.excepthandler) -> str:
    """Where `node` stands, as an editor opens it."""
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of attributes, or "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


@cache
def settings() -> dict[str, object]:
    """The whole of pyproject.toml."""
    return tomllib.loads(text(ROOT / "pyproject.toml"))


def tool(*keys: str) -> dict[str, object]:
    """The table `[tool.KEYS]` of pyproject.toml; empty where there is none."""
    table: object = settings()["tool"]
    for key in keys:
        assert isinstance(table, dict)
        table = table.get(key, {})
    assert isinstance(table, dict)
    return table


def strings(value: object) -> list[str]:
    """A list of strings out of a table of pyproject.toml, checked."""
    assert isinstance(value, list)
    assert all(isinstance(one, str) for one in value)
    return value
