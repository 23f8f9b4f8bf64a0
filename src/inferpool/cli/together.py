"""Runs a server with a worker in one process, which end together.

One process rather than two children: a `kill -9` leaves nothing behind that holds the store, Ctrl-C reaches both on every
system, and nothing is at stake in a crash that both share, because every task is on disk.
"""

import asyncio
import contextlib
from typing import Protocol

import msgspec

from inferpool.compose import open_worker, run_server
from inferpool.host.signals import hearing
from inferpool.server.run import Stop
from inferpool.settings import Settings
from inferpool.worker.run import Worker


class Teller(Protocol):
    """Who hears how it goes."""

    def begin(self, url: str) -> None:
        """The server is ready at this address."""
        ...

    def leave(self) -> None:
        """A first signal came: both begin to leave."""
        ...


async def run_together(settings: Settings, teller: Teller, own_token: str) -> None:
    """Serve, work until SIGTERM or Ctrl-C: then the worker leaves, the server drains; a second signal waits for nobody.

    `own_token` is what the worker shows unless the settings name
    another: the server lets it publish, also when there are tokens. Raises what `run_server`, what `Worker.run` raises.
    """
    both = _Both(settings, teller, own_token)
    with hearing(both.signalled):
        await both.run()


class _Both:
    """The two with what stops them."""

    def __init__(self, settings: Settings, teller: Teller, own_token: str) -> None:
        self._settings = settings
        self._own_token = own_token
        self._teller = teller
        self._stop = Stop()
        self._ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._worker: Worker | None = None
        self._working: asyncio.Future[None] | None = None
        self._leaving = False

    def signalled(self) -> None:
        """The first time begin to leave, the second time just end."""
        again, self._leaving = self._leaving, True
        if again:
            self._stop.insist()
            if self._working is not None:
                self._working.cancel()
        if self._worker is None:
            self._stop.ask()
        else:
            self._worker.leave()
        if not again:
            self._teller.leave()

    async def run(self) -> None:
        serving = asyncio.ensure_future(run_server(self._settings, self._note, self._stop, self._own_token))
        try:
            await asyncio.wait((self._ready, serving), return_when=asyncio.FIRST_COMPLETED)
            if self._ready.done() and not self._leaving:
                await self._work(self._ready.result(), serving)
        finally:
            self._stop.ask()
            await serving

    def _note(self, line: str) -> None:
        """The server's ready line ends in its address."""
        self._ready.set_result(line.rsplit(" ", 1)[-1])

    async def _work(self, url: str, serving: asyncio.Future[None]) -> None:
        """Run the worker until it has left, or until the server has ended by itself."""
        token = self._settings.shared.token or self._own_token
        shared = msgspec.structs.replace(self._settings.shared, server=[url], token=token)
        async with open_worker(msgspec.structs.replace(self._settings, shared=shared)) as self._worker:
            self._teller.begin(url)
            self._working = asyncio.ensure_future(self._worker.run())
            await asyncio.wait((self._working, serving), return_when=asyncio.FIRST_COMPLETED)
            self._working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._working
        self._worker = None
