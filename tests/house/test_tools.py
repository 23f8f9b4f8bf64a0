"""The tools' own configuration: nothing in it may look away."""

import ast
import json
import re
from pathlib import Path

import pytest

from tests.house.project import (
    PACKAGE,
    ROOT,
    comments,
    dotted,
    files,
    place,
    python_files,
    settings,
    strings,
    text,
    tool,
    tree,
)

# Whatever is read from another file would not be seen by these tests.
SECOND_CONFIGURATIONS = {
    ".coveragerc", ".importlinter", ".mypy.ini", ".pytest.ini", ".ruff.toml", "mypy.ini", "pytest.ini", "pytest.toml",
    "ruff.toml", "setup.cfg", "tox.ini",
}  # fmt: skip
CONTRACTS = {"layers", "circles", "remote", "core-packages", "core-pure", "dispatch", "store-port", "drivers"}
CONTRACT_KEYS = {
    "ancestors", "containers", "exhaustive", "exhaustive_ignores", "forbidden_modules", "id", "layers", "name",
    "source_modules", "type",
}  # fmt: skip
LAYERS = ["cli", "compose", "server | worker", "dispatch | client", "store | wire", "core | settings | host"]
STRICT = {"strict": True, "disallow_any_explicit": True, "disallow_any_unimported": True, "warn_unreachable": True}
LOOKING_AWAY = {
    "allow_any_generics", "allow_redefinition", "allow_untyped_calls", "allow_untyped_decorators", "allow_untyped_defs",
    "allow_untyped_globals", "disable_error_code", "exclude", "exclude_gitignore", "follow_imports", "follow_imports_for_stubs",
    "ignore_errors", "ignore_missing_imports", "overrides", "per_module", "plugins",
}  # fmt: skip
OMISSIONS = {"exclude_lines", "ignore_errors", "include", "omit", "partial_also", "partial_branches"}
# The type checker proves that this line is never reached; the other exclusions are the tool's own.
UNREACHABLE = ["assert_never\\("]
LINT_RULES = {
    "A", "ANN", "ASYNC", "B", "BLE", "C4", "C90", "D", "E", "ERA", "F", "I", "N", "PERF", "PL", "PT", "RET", "RUF", "S", "SIM",
    "T20", "TRY", "UP", "W",
}  # fmt: skip
EVASIONS = {
    "skip",
    "skipif",
    "xfail",
    "importorskip",
    "flaky",
    "filterwarnings",
    "skipTest",
    "SkipTest",
    "expectedFailure",
}
RERUNNERS = {"flaky", "pytest-rerunfailures", "pytest-retry", "pytest-ignore-flaky", "pytest-flakefinder"}
NARROWING = re.compile(r"--deselect|--ignore|--reruns|--runxfail|--lf|--ff|\s-[km]\s(?!pytest|pip|venv|bench|tests\.)")


def test_there_is_one_file_of_configuration() -> None:
    assert [path.name for path in files() if path.name in SECOND_CONFIGURATIONS] == []


def contracts() -> dict[str, dict[str, object]]:
    """The import contracts by their id."""
    listed = tool("importlinter")["contracts"]
    assert isinstance(listed, list)
    return {contract["id"]: contract for contract in listed}


def test_no_import_is_exempt_from_the_contracts() -> None:
    assert set(contracts()) == CONTRACTS
    assert {name: set(one) - CONTRACT_KEYS for name, one in contracts().items() if set(one) - CONTRACT_KEYS} == {}
    whole = {key: value for key, value in tool("importlinter").items() if key != "contracts"}
    assert whole == {
        "root_package": "inferpool",
        "include_external_packages": True,
        "exclude_type_checking_imports": False,
    }


def test_the_layers_are_those_of_the_plan() -> None:
    layers = contracts()["layers"]
    assert layers["layers"] == LAYERS
    assert layers["containers"] == ["inferpool"]
    assert layers["exhaustive"] is True
    assert layers["exhaustive_ignores"] == ["__main__"]


def test_the_port_is_all_that_dispatch_may_see_of_the_store() -> None:
    port = contracts()["store-port"]
    assert port["source_modules"] == ["inferpool.dispatch", "inferpool.server"]
    store = ROOT / "src" / "inferpool" / "store"
    modules = {f"inferpool.store.{path.stem}" for path in python_files("src/inferpool/store") if path.parent == store}
    ports = {f"inferpool.store.{name}" for name in ("protocol", "access_protocol", "servers_protocol")}
    assert set(strings(port["forbidden_modules"])) == modules - ports - {"inferpool.store.__init__"}


def test_core_is_kept_from_every_package_but_the_one_it_may_know() -> None:
    required = strings(project_table()["dependencies"])
    packages = {re.split(r"[<>=\[;]", one)[0].replace("-", "_") for one in required}
    assert set(strings(contracts()["core-packages"]["forbidden_modules"])) == packages - {"msgspec"}


def project_table() -> dict[str, object]:
    """The table [project]."""
    table = settings()["project"]
    assert isinstance(table, dict)
    return table


def test_the_type_checker_is_strict_everywhere() -> None:
    mypy = tool("mypy")
    assert {key: mypy.get(key) for key in STRICT} == STRICT
    assert mypy["files"] == ["src", "tests", "bench"]
    assert set(mypy) & LOOKING_AWAY == set()
    assert [key for key, value in mypy.items() if value is False] == []


def test_the_linter_drops_none_of_the_promised_families() -> None:
    lint = tool("ruff", "lint")
    assert set(strings(lint["select"])) >= LINT_RULES
    assert [rule for rule in strings(lint["ignore"]) if rule in LINT_RULES] == []
    assert set(tool("ruff")) & {"exclude", "extend-exclude", "force-exclude", "extend"} == set()
    assert tool("ruff", "lint", "mccabe") == {"max-complexity": 8}
    assert tool("ruff")["line-length"] == 120


def test_coverage_leaves_nothing_out() -> None:
    run, report = tool("coverage", "run"), tool("coverage", "report")
    assert (set(run) | set(report)) & OMISSIONS == set()
    assert report["exclude_also"] == UNREACHABLE
    assert report["fail_under"] == 92
    assert run["branch"] is True
    assert run["source_pkgs"] == ["inferpool"]
    assert "--fail-under=100" in text(ROOT / "Makefile")
    pragma = re.compile(r"#\s*pragma\s*:?\s*no", re.IGNORECASE)
    assert [str(one) for path in python_files() for one in comments(path) if pragma.search(one.text)] == []


def test_warnings_are_errors() -> None:
    options = tool("pytest", "ini_options")
    assert options["filterwarnings"] == ["error"]
    assert "--strict-markers" in strings(options["addopts"])


@pytest.mark.parametrize(
    "path", [ROOT / "Makefile", ROOT / ".ci" / "run", ROOT / "pyproject.toml"], ids=lambda path: path.name
)
def test_no_command_leaves_tests_out(path: Path) -> None:
    assert [line for line in text(path).splitlines() if NARROWING.search(line)] == []


def test_no_test_is_skipped_or_expected_to_fail_or_run_again() -> None:
    found = [
        place(path, node)
        for path in python_files("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in EVASIONS and looks_away(node)
    ]
    assert found == []
    assert [name for name in RERUNNERS if f"{name}==" in text(ROOT / "requirements-dev.lock")] == []


def looks_away(node: ast.Attribute) -> bool:
    """Whether the name is pytest's or unittest's, not a word of ours."""
    return dotted(node).split(".")[0] in {"mark", "pytest", "self", "unittest"}


def test_the_locks_pin_every_file_by_its_hash() -> None:
    locks = [path for path in files() if path.suffix == ".lock"]
    assert {path.name for path in locks} == {"requirements.lock", "requirements-dev.lock", "requirements-engine.lock"}
    for path in locks:
        pins = re.split(r"\n(?=\w)", re.sub(r"(?m)^\s*#.*\n", "", text(path)).strip())
        assert [
            pin for pin in pins if not re.match(r"[\w.-]+==\S+(?: ; [^\n\\]+)? \\\n    --hash=sha256:\w{64}", pin)
        ] == []


def test_the_lock_of_node_pins_every_package_by_its_hash_without_a_place() -> None:
    folder = ROOT / "tests" / "journeys" / "node"
    wanted = json.loads(text(folder / "package.json"))["dependencies"]
    packages = json.loads(text(folder / "package-lock.json"))["packages"]
    locked = {name.removeprefix("node_modules/"): one for name, one in packages.items() if name}
    assert {name: one["version"] for name, one in locked.items() if name in wanted} == wanted
    assert [
        name for name, one in locked.items() if "resolved" in one or not one["integrity"].startswith("sha512-")
    ] == []


def test_every_requirement_is_locked() -> None:
    table = project_table()
    optional = table["optional-dependencies"]
    assert isinstance(optional, dict)
    locks = {"requirements.lock": strings(table["dependencies"]), "requirements-dev.lock": strings(optional["dev"])}
    for lock, required in locks.items():
        names = [re.split(r"[<>=\[;]", one)[0] for one in required]
        assert [name for name in names if f"\n{name}==" not in text(ROOT / lock)] == []


def test_the_installed_package_has_every_data_file() -> None:
    patterns = tool("setuptools", "package-data")["inferpool"]
    shipped = {path for pattern in strings(patterns) for path in PACKAGE.glob(pattern)}
    data = {path for path in files() if path.is_relative_to(PACKAGE) and path.suffix != ".py"}
    assert data - shipped == set()
