"""The exit codes of every command, with the one line that tells what went wrong."""

import contextlib
import sys
from enum import IntEnum
from typing import Final

import typer

EXIT_CODES: Final = "Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 130 stopped by Ctrl-C."


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    STOPPED = 130


def complain(message: str) -> None:
    """Say on the error output what went wrong, in one line."""
    with contextlib.suppress(BrokenPipeError):  # nobody reads it: the exit code still tells
        sys.stderr.write("error: " + " ".join(message.split()) + "\n")


def fail(message: str, code: ExitCode = ExitCode.FAILED) -> typer.Exit:
    """Say what went wrong; raise what this returns to end the command."""
    complain(message)
    return typer.Exit(code)
