"""The habits of writing that no linter of ours knows by itself."""

import ast
import re
from pathlib import Path

import pytest

from tests.house.project import ROOT, comments, dotted, functions, place, python_files, text, tree

# Two words each, so that prose in a message is not taken for a statement.
STATEMENT = re.compile(
    r"\bSELECT\b.+\bFROM\b|\bINSERT\s+(OR\s+\w+\s+)?INTO\b|\bUPDATE\s+\w+\s+SET\b|\bDELETE\s+FROM\s+\w+"
    r"|\b(CREATE|DROP|ALTER)\s+(TEMP\s+|UNIQUE\s+|VIRTUAL\s+)?(TABLE|INDEX|VIEW|TRIGGER)\b|\bPRAGMA\s+\w+"
    r"|^\s*(BEGIN|COMMIT|ROLLBACK|VACUUM|SAVEPOINT\s+\w+)(\s+(IMMEDIATE|EXCLUSIVE|DEFERRED|TRANSACTION))?\s*;?\s*$",
    re.DOTALL,
)
ENVIRONMENT = {"environ", "environb", "getenv", "putenv"}
BROAD = {"Exception", "BaseException"}
VIRTUAL_TIME = ROOT / "tests" / "simulation"  # there a sleep takes no time: the event loop's clock is simulated
TYPED_LAYERS = ("src/inferpool/core", "src/inferpool/store", "src/inferpool/dispatch")


def sentences(docstring: str) -> str:
    """The first sentence, in one line."""
    return re.split(r"(?<=[.!?])\s", " ".join(docstring.split()), maxsplit=1)[0]


def docstrings(path: Path) -> set[int]:
    """The identities of the nodes that are docstrings, so that prose is not taken for code."""
    owners = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Module | ast.ClassDef)]
    bodies = [owner.body for owner in owners] + [function.body for function in functions(path)]
    return {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}


def literals(path: Path) -> list[ast.Constant]:
    """Every string of the file that is not a docstring."""
    prose = docstrings(path)
    constants = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Constant)]
    return [node for node in constants if isinstance(node.value, str) and id(node) not in prose]


def names(path: Path) -> list[tuple[str, ast.expr | ast.stmt]]:
    """Every dotted name that the file uses, every name that it imports."""
    used: list[tuple[str, ast.expr | ast.stmt]] = [
        (dotted(node), node) for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute | ast.Name)
    ]
    imported: list[tuple[str, ast.expr | ast.stmt]] = [
        (f"{node.module}.{alias.name}", node)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    modules: list[tuple[str, ast.expr | ast.stmt]] = [
        (alias.name, node) for node in ast.walk(tree(path)) if isinstance(node, ast.Import) for alias in node.names
    ]
    return used + imported + modules


def signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    """The annotations of what a function takes, of what it returns."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    annotations = [one.annotation for one in every if one is not None] + [function.returns]
    return [one for one in annotations if one is not None]


def test_every_module_says_what_it_is_for_in_one_sentence_of_one_thought() -> None:
    said = {str(path.relative_to(ROOT)): ast.get_docstring(tree(path)) or "" for path in python_files()}
    assert [name for name, docstring in said.items() if not docstring] == []
    assert [
        name for name, docstring in said.items() if re.search(r"\band\b", sentences(docstring), re.IGNORECASE)
    ] == []


def test_no_statement_of_a_database_stands_in_python() -> None:
    found = [
        place(path, node)
        for path in python_files("src")
        for node in literals(path)
        if isinstance(node.value, str) and STATEMENT.search(node.value)
    ]
    assert found == []


def test_the_environment_is_read_by_the_settings_alone() -> None:
    found = [
        place(path, node)
        for path in python_files("src")
        if path.name != "settings.py"
        for name, node in names(path)
        if name.split(".")[0] in {"os", "environ"} and ENVIRONMENT & set(name.split("."))
    ]
    assert found == []


def test_no_comment_silences_the_type_checker() -> None:
    silent = re.compile(r"#\s*(type:\s*ignore|mypy:|pyright:)")
    assert [str(one) for path in python_files() for one in comments(path) if silent.search(one.text)] == []


def test_a_silenced_lint_rule_is_named_with_its_reason() -> None:
    reasoned = re.compile(r"#\s*noqa: [A-Z]+\d+(, [A-Z]+\d+)* - \S+ \S+")
    marks = [one for path in python_files() for one in comments(path) if "noqa" in one.text]
    assert [str(one) for one in marks if not reasoned.search(one.text)] == []
    assert [str(one) for path in python_files() for one in comments(path) if "ruff:" in one.text] == []


def broad_handlers(path: Path) -> list[ast.ExceptHandler]:
    """The handlers that catch whatever comes without raising it again."""
    every = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler)]
    handlers = [node for node in every if not isinstance(node.body[-1], ast.Raise)]
    return [node for node in handlers if node.type is None or any(dotted(one) in BROAD for one in caught(node.type))]


def caught(kind: ast.expr) -> list[ast.expr]:
    """The exceptions that a handler names."""
    return kind.elts if isinstance(kind, ast.Tuple) else [kind]


def test_a_broad_except_says_why() -> None:
    unexplained = [
        place(path, node)
        for path in python_files()
        for node in broad_handlers(path)
        if not {node.lineno - 1, node.lineno, node.lineno + 1} & {one.line for one in comments(path)}
    ]
    assert unexplained == []


def test_no_test_sleeps() -> None:
    found = [
        place(path, node)
        for path in python_files("tests")
        if not path.is_relative_to(VIRTUAL_TIME)
        for name, node in names(path)
        if name.split(".")[-1] == "sleep" and name.split(".")[0] in {"time", "asyncio", "anyio", "sleep"}
    ]
    assert found == []


def test_no_test_mocks() -> None:
    found = [place(path, node) for path in python_files() for name, node in names(path) if "mock" in name.split(".")]
    assert found == []


@pytest.mark.parametrize("layer", TYPED_LAYERS)
def test_no_signature_of_the_inner_layers_says_any(layer: str) -> None:
    found = [
        f"{place(path, function)} {function.name}"
        for path in python_files(layer)
        for function in functions(path)
        for annotation in signature(function)
        if any(dotted(node).split(".")[-1] == "Any" for node in ast.walk(annotation) if isinstance(node, ast.expr))
    ]
    assert found == []


def test_each_statement_file_opens_with_a_comment() -> None:
    statements = sorted((ROOT / "src").rglob("*.sql"))
    assert [path.name for path in statements if not text(path).startswith("--")] == []
