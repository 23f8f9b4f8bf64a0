"""Claims about the mutants themselves, cheap enough for every run: `make mutants` shows that each one is noticed."""

import ast
from pathlib import Path

import pytest

from tests.mutants.safeguards import SAFEGUARDS, Edit, Safeguard
from tests.mutants.trial import PACKAGE, ROOT, AnchorLost, apply, edited

EVERY = pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda safeguard: safeguard.name)


@EVERY
def test_each_safeguard_stands_where_its_edit_expects_it(safeguard: Safeguard) -> None:
    for path in {edit.path for edit in safeguard.edits}:
        text = before = (PACKAGE / path).read_text(encoding="utf-8")
        for edit in safeguard.edits:
            text = edited(text, edit) if edit.path == path else text
        assert text != before


@EVERY
def test_each_safeguard_names_a_test_that_is_there(safeguard: Safeguard) -> None:
    path, _, name = safeguard.test.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name.partition("[")[0] in names


def test_there_are_at_least_ten_of_them() -> None:
    assert len({safeguard.name for safeguard in SAFEGUARDS}) == len(SAFEGUARDS) >= 10


@pytest.mark.parametrize("text", ["nothing of it", "a guard, a guard"])
def test_an_edit_whose_place_is_not_there_once_fails_loudly(tmp_path: Path, text: str) -> None:
    (tmp_path / "some.py").write_text(text)
    with pytest.raises(AnchorLost, match=r"some\.py"):
        apply([Edit("some.py", "a guard", "none")], tmp_path)
    assert (tmp_path / "some.py").read_text() == text
