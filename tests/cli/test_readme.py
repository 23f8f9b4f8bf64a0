"""Claims about the README: the commands that it shows exist, its program is one."""

import re
import shlex

import pytest

from tests.cli.typed import Typed
from tests.house.project import ROOT, text

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    """The README's blocks of code in that language."""
    return [code for name, code in BLOCK.findall(text(ROOT / "README.md")) if name == language]


def commands() -> list[str]:
    """Every inferpool command that a block shows, without what it is piped into; what follows a prompt, if there is one."""
    shown = [line for code in blocks("") for line in typed_lines(code.splitlines())]
    parts = [part for line in shown for part in line.split(" && ")]
    return [part.split(" | ")[0] for part in parts if part.startswith("inferpool ")]


def typed_lines(lines: list[str]) -> list[str]:
    """What one types of a block; the rest of a block with prompts is output."""
    typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return typed or lines


@pytest.mark.parametrize("command", commands())
def test_every_command_that_is_shown_exists_with_its_flags(typed: Typed, command: str) -> None:
    words = shlex.split(command)[1:]
    path = [word for word in words if re.fullmatch("[a-z]+", word)]
    told = typed(*path, "--help")
    assert told.code == 0
    assert [word for word in words if word.startswith("--") and word not in told.output] == []


def test_the_program_that_is_shown_is_one() -> None:
    [program] = blocks("python")
    compile(program, "README.md", "exec")


def test_the_tour_shows_commands() -> None:
    assert len(commands()) >= 5
