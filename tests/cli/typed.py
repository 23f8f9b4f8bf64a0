"""What comes of a command that a test types."""

from typing import NamedTuple, Protocol

import pytest

from inferpool.cli.app import run


class Told(NamedTuple):
    """How a command ended, with its two outputs."""

    code: int
    output: str
    errors: str

    @property
    def lines(self) -> list[list[str]]:
        """The words of each line of the output."""
        return [line.split() for line in self.output.splitlines()]


class Typed(Protocol):
    """Types a command."""

    def __call__(self, *arguments: str) -> Told: ...


class Typist:
    """Types commands in this very process."""

    def __init__(self, outputs: pytest.CaptureFixture[str]) -> None:
        self._outputs = outputs

    def __call__(self, *arguments: str) -> Told:
        self._outputs.readouterr()
        code = run(arguments)
        return Told(code, *self._outputs.readouterr())
