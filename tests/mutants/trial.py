"""Runs named tests against a copy of the product: as it is, or without one safeguard."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Final

from tests.mutants.safeguards import Edit

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "src" / "inferpool"
_PATIENCE_S: Final = 60
_PASSED: Final = 0
_FAILED: Final = 1
_ORIGIN: Final = "import inferpool; print(inferpool.__file__)"


class AnchorLost(LookupError):
    """The product no longer reads as an edit expects: the safeguard moved, so its edit must follow."""


class Verdict(Enum):
    """What the tests said."""

    GREEN = "green"
    RED = "red"
    BROKEN = "could not run"
    """Neither passed nor failed: the edit made no program, or the test is not there."""


def edited(text: str, edit: Edit) -> str:
    """The file's text after the edit. Raises `AnchorLost` unless its place is there, once."""
    count = text.count(edit.old)
    if count != 1:
        raise AnchorLost(f"{edit.path} has {count} places, not one, that read {edit.old!r}")
    return text.replace(edit.old, edit.new)


def apply(edits: Iterable[Edit], package: Path) -> None:
    """Make the edits in the files of a package."""
    for edit in edits:
        path = package / edit.path
        path.write_text(edited(path.read_text(encoding="utf-8"), edit), encoding="utf-8")


def run(edits: Sequence[Edit], tests: Sequence[str]) -> tuple[Verdict, str]:
    """What the tests say of a copy with these edits, with pytest's output. The checkout is never touched."""
    with tempfile.TemporaryDirectory(prefix="inferpool-mutant-") as folder:
        source = Path(folder)
        shutil.copytree(PACKAGE, source / "inferpool", ignore=shutil.ignore_patterns("__pycache__"))
        apply(edits, source / "inferpool")
        _check_origin(source)
        try:
            ended = _python(source, "-m", "pytest", "--quiet", "--no-header", "--tb=line", *tests)
        except subprocess.TimeoutExpired:
            return Verdict.RED, f"no end within {_PATIENCE_S} s"
    verdict = {_PASSED: Verdict.GREEN, _FAILED: Verdict.RED}.get(ended.returncode, Verdict.BROKEN)
    return verdict, ended.stdout + ended.stderr


def _check_origin(source: Path) -> None:
    """The tests must see the copy, not the checkout."""
    origin = _python(source, "-c", _ORIGIN).stdout.strip()
    if not Path(origin).is_relative_to(source):
        raise RuntimeError(f"the tests would run {origin}, not the copy in {source}")


def _python(source: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
