"""Claims about the command line as a whole: help, exit codes, errors in one line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from inferpool.cli.app import app
from tests.cli.played import Site
from tests.cli.typed import Typed


def whole_commands(command: typer.core.TyperGroup, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command by the words that one types."""
    for name, inner in command.commands.items():
        yield (*before, name)
        if isinstance(inner, TyperGroup):
            yield from whole_commands(inner, (*before, name))


def every_command() -> list[tuple[str, ...]]:
    """Every command of the program."""
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    return list(whole_commands(root))


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_helps_with_examples_with_exit_codes(typed: Typed, words: tuple[str, ...]) -> None:
    told = typed(*words, "--help")
    assert told.code == 0
    assert "$ " in told.output
    assert "Exit codes:" in told.output


def test_the_version_is_the_packages(typed: Typed) -> None:
    assert typed("--version") == (0, f"inferpool {version('inferpool')}\n", "")


@pytest.mark.parametrize("words", [(), ("get",), ("describe",)])
def test_a_command_without_its_word_shows_its_help(typed: Typed, words: tuple[str, ...]) -> None:
    told = typed(*words)
    assert told.code == 2
    assert "Usage:" in told.output + told.errors
    assert "error:" not in told.errors


@pytest.mark.parametrize(
    "words",
    [
        ("serve", "--prt", "1"),
        ("serve", "--port", "http"),
        ("cancel",),
        ("jump",),
        ("get", "tasks", "--status", "lost"),
        ("get", "tasks", "--limit", "0"),
        ("get", "tasks", "--server", "ftp://a"),
        ("serve", "--host", "0.0.0.0"),
        ("serve", "--database-url", "mysql://db/inferpool"),
        ("worker", "--engine", "no address"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_with_the_exit_code_2(typed: Typed, words: tuple[str, ...]) -> None:
    told = typed(*words)
    assert told.code == 2
    assert told.output == ""
    assert told.errors.startswith("error: ")
    assert told.errors.count("\n") == 1


def test_a_server_that_is_not_there_is_a_failure_with_a_remedy(typed: Typed) -> None:
    told = typed("get", "tasks", "--server", "http://127.0.0.1:9")
    assert told.code == 1
    assert "is `inferpool serve` running there?" in told.errors
    assert told.errors.count("\n") == 1


@pytest.mark.parametrize("form", ["wide", "name", "json"])
def test_a_reader_that_leaves_is_no_reason_for_a_traceback(site: Site, form: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "inferpool", "get", "tasks", "--server", site.url, "-o", form]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "inferpool", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("inferpool ")


def test_a_folder_that_cannot_be_made_is_told_by_its_name(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("INFERPOOL_STATE_FOLDER", str(tmp_path / "file"))
    told = typed("worker", "--engine", "http://127.0.0.1:9", "--name", "a")
    assert told.code == 1
    assert str(tmp_path / "file") in told.errors
    assert told.errors.count("\n") == 1
