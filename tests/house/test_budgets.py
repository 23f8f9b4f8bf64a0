"""The sizes that a file, a class, a function may have."""

import ast
from pathlib import Path

from tests.house.project import PACKAGE, ROOT, Function, classes, dotted, files, functions, place, python_files, text

MAX_FILE_LINES = 350
MAX_CLASS_LINES = 250
MAX_METHODS = 20
MAX_FUNCTION_LINES = 40
MAX_PARAMETERS = 6
MAX_PUBLIC_NAMES = 12
CATCH_ALLS = {"base", "bases", "common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}


def lines(node: ast.ClassDef | Function) -> int:
    """Lines from the first word to the last, docstring included, decorators not."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def parameters(function: Function) -> int:
    """What a caller may hand in: `self` and `cls` are not counted."""
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls"}]) + bool(given.vararg) + bool(given.kwarg)


def is_command(function: Function) -> bool:
    """Whether the parameters are flags that a person types, read by typer from the signature."""
    calls = [one.func for one in function.decorator_list if isinstance(one, ast.Call)]
    return any(dotted(call).endswith((".command", ".callback")) for call in calls)


def inner_functions(function: Function) -> list[Function]:
    """The functions that are defined inside `function`, those that wrap a decorated one left out."""
    found = [node for node in ast.walk(function) if isinstance(node, Function) and node is not function]
    methods = [method for node in ast.walk(function) if isinstance(node, ast.ClassDef) for method in ast.walk(node)]
    return [node for node in found if node not in methods and not wraps(node)]


def wraps(function: Function) -> bool:
    """Whether the function says by `functools.wraps` that it stands for a decorated one."""
    calls = [one.func for one in function.decorator_list if isinstance(one, ast.Call)]
    return any(dotted(call) in {"wraps", "functools.wraps"} for call in calls)


def test_no_file_is_longer_than_its_budget() -> None:
    long = {str(path.relative_to(ROOT)): text(path).count("\n") for path in python_files()}
    assert {name: count for name, count in long.items() if count > MAX_FILE_LINES} == {}


def test_no_statement_file_is_longer_than_its_budget() -> None:
    statements = [path for path in files() if path.suffix == ".sql"]
    assert [path.name for path in statements if text(path).count("\n") > MAX_FILE_LINES] == []


def test_no_class_is_larger_than_its_budget() -> None:
    assert [
        f"{place(path, node)} {node.name}"
        for path in python_files()
        for node in classes(path)
        if lines(node) > MAX_CLASS_LINES or sum(isinstance(part, Function) for part in node.body) > MAX_METHODS
    ] == []


def test_no_function_is_longer_than_its_budget() -> None:
    assert [
        f"{place(path, node)} {node.name}: {lines(node)} lines"
        for path in python_files()
        for node in functions(path)
        if lines(node) > MAX_FUNCTION_LINES
    ] == []


def test_no_function_takes_more_parameters_than_its_budget() -> None:
    assert [
        f"{place(path, node)} {node.name}: {parameters(node)} parameters"
        for path in python_files()
        for node in functions(path)
        if parameters(node) > MAX_PARAMETERS and not is_command(node)
    ] == []


def test_no_function_is_defined_inside_another_but_by_a_decorator() -> None:
    assert [
        f"{place(path, inner)} {inner.name} in {outer.name}"
        for path in python_files()
        for outer in functions(path)
        for inner in inner_functions(outer)
    ] == []


def test_no_file_or_folder_is_a_catch_all() -> None:
    assert [str(path) for path in map(relative, python_files()) if CATCH_ALLS & {*path.parts, path.stem}] == []


def relative(path: Path) -> Path:
    """The path as it is written in the project."""
    return path.relative_to(ROOT)


def test_the_face_has_at_most_a_dozen_public_names() -> None:
    face = [node for node in ast.parse(text(PACKAGE / "__init__.py")).body if not isinstance(node, ast.Expr)]
    names = [alias.asname or alias.name for node in face if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert len([name for name in names if not name.startswith("_")]) <= MAX_PUBLIC_NAMES


def test_a_package_within_the_package_reexports_nothing() -> None:
    inner = [path for path in python_files("src/inferpool") if path.name == "__init__.py" and path.parent != PACKAGE]
    assert [str(relative(path)) for path in inner if len(ast.parse(text(path)).body) > 1] == []
