"""One of several equal server processes, beside which others share the port.

Started by `cli/parent.py`, which writes the settings as one line into the standard input, then keeps it open for as long as
it lives: its end is the parent's, however that died. Whatever else comes there means that nobody is to be waited for; a
signal never means that, however often it comes.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from inferpool.cli.loop import run_program
from inferpool.cli.outcome import outcome
from inferpool.compose import make_log, run_server
from inferpool.host.signals import hearing
from inferpool.server.run import Stop
from inferpool.settings import Settings, SharedSettings

_PIECE: Final = 1024


def run() -> None:
    """Serve as the standard input says, until a signal or its end."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as pipe:
        line = pipe.readline()  # nothing beyond it: the loop reads that
    if line:  # else the parent ended before it said anything
        run_program(_serve(msgspec.json.decode(line, type=Settings)))


async def _serve(settings: Settings) -> None:
    stop = Stop()
    with hearing(stop.ask), _Pipe(sys.stdin.fileno(), stop, settings.shared).watched():
        await run_server(settings, stop=stop, shared=True)


class _Pipe:
    """What the parent says after the settings, its end."""

    def __init__(self, handle: int, stop: Stop, settings: SharedSettings) -> None:
        self._handle = handle
        self._stop = stop
        self._settings = settings

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within the block, in the running loop."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._handle, self._look)
        try:
            yield
        finally:
            loop.remove_reader(self._handle)

    def _look(self) -> None:
        if os.read(self._handle, _PIECE):
            self._stop.insist()
        else:
            asyncio.get_running_loop().remove_reader(self._handle)
            make_log(self._settings).warning("the process that started this one is gone: ending too")
        self._stop.ask()


if __name__ == "__main__":
    sys.exit(outcome(run))
