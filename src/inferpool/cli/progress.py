"""Shows on the error output how far something long has come, where that is a terminal.

Nothing of it reaches a pipe, nor stays on the screen afterwards.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

_PARTS: Final = 1000
"""What the bar counts to."""


class Meter(Protocol):
    """What a long command tells of itself meanwhile."""

    def at(self, share: float | None, said: str) -> None:
        """It has done this share of its work, from 0 to 1; None: nobody knows. `said` stands before the bar."""
        ...

    def say(self, line: str) -> None:
        """Write a line of the result, above the bar."""
        ...


class _Silent:
    """For whoever is no terminal."""

    def at(self, share: float | None, said: str) -> None:
        """Nobody looks."""

    def say(self, line: str) -> None:
        """The result alone."""
        sys.stdout.write(line + "\n")


SILENT: Final[Meter] = _Silent()


class _Bar:
    """For a terminal."""

    def __init__(self, said: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=None), TimeElapsedColumn())
        console = Console(file=sys.stderr, highlight=False)
        self._bar = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
        self._task = self._bar.add_task(said, total=None)
        self._bar.start()

    def at(self, share: float | None, said: str) -> None:
        """Move the bar."""
        total = None if share is None else _PARTS
        self._bar.update(self._task, description=said, total=total, completed=(share or 0.0) * _PARTS)

    def say(self, line: str) -> None:
        """Both may stand on one screen: take the bar away for the moment."""
        self._bar.stop()
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        self._bar.start()

    def end(self) -> None:
        """Take it away."""
        self._bar.stop()


@contextmanager
def progress(said: str) -> Iterator[Meter]:
    """A bar while the block runs, beginning with these words."""
    if not sys.stderr.isatty():
        yield SILENT
        return
    bar = _Bar(said)
    try:
        yield bar
    finally:
        bar.end()
