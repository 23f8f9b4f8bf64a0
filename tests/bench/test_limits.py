"""The limits are bare: short, without a line of ours."""

import ast
from pathlib import Path

import pytest

from bench import limits

PROGRAMS = sorted(path for path in Path(limits.__path__[0]).glob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_limit_is_short_enough_to_be_believed(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_limit_imports_nothing_of_ours(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert [name for name in modules if name.split(".")[0] in {"inferpool", "bench", "tests"}] == []
