"""One of several equal server processes, beside which others share the port.

Started by `cli/parent.py`, which writes the settings as one line into the standard input, then keeps it open for as long as
it lives: its end is the parent's, however that died.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
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
    line = sys.stdin.buffer.readline()
    if line:  # else the parent ended before it said anything
        run_program(_serve(msgspec.json.decode(line, type=Settings)))


async def _serve(settings: Settings) -> None:
    stop = Stop()
    orphan = _Orphan(sys.stdin.fileno(), stop.ask, settings.shared)
    with hearing(stop.signalled), orphan.watching():
        await run_server(settings, stop=stop, shared=True)


class _Orphan:
    """Notices that the process which holds the other end of a pipe is gone."""

    def __init__(self, pipe: int, alone: Callable[[], None], settings: SharedSettings) -> None:
        """`alone` is called once, when it is gone."""
        self._pipe = pipe
        self._alone = alone
        self._settings = settings

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block, in the running loop."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pipe, self._look)
        try:
            yield
        finally:
            loop.remove_reader(self._pipe)

    def _look(self) -> None:
        if os.read(self._pipe, _PIECE):
            return
        asyncio.get_running_loop().remove_reader(self._pipe)
        make_log(self._settings).warning("the process that started this one is gone: ending too")
        self._alone()


if __name__ == "__main__":
    sys.exit(outcome(run))
