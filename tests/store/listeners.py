"""Servers' ears for tests, with wires to PostgreSQL that keep them waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from inferpool.core.errors import StoreUnavailable
from inferpool.store.postgres_driver import Address, Timeouts
from inferpool.store.postgres_signals import HASTY, PostgresSignals, Pulse
from inferpool.store.servers_protocol import Note, Signals
from tests.store.shaky import turn_of_the_loop
from tests.store.side_desk import SideDesk
from tests.store.wires import Wire

PATIENCE_S = 60.0
ALL = "all of them"
FORBEARING = msgspec.structs.replace(HASTY, connect_s=PATIENCE_S, statement_s=PATIENCE_S, lock_s=PATIENCE_S)
"""A busy machine takes its time."""


class Listener:
    """Hears everything on its channels, while it is entered."""

    def __init__(self, signals: Signals, channels: Sequence[str] = (ALL,)) -> None:
        self.texts: list[str] = []
        self.links = 0
        self._news = asyncio.Event()
        self.task = asyncio.ensure_future(signals.listen(channels, self._hear, self._linked))

    def _hear(self, text: str) -> None:
        self.texts.append(text)
        self._news.set()

    def _linked(self) -> None:
        self.links += 1
        self._news.set()

    async def heard(self, count: int) -> list[str]:
        """What was heard, once that is so many."""
        await self._until(lambda: len(self.texts) >= count)
        return self.texts

    async def told(self, text: str) -> None:
        """Returns once this was heard."""
        await self._until(lambda: text in self.texts)

    async def linked(self, times: int) -> None:
        """Returns once it was linked that often."""
        await self._until(lambda: self.links >= times)

    async def _until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not true():
                self._news.clear()
                await self._news.wait()

    async def __aenter__(self) -> Self:
        await self.linked(1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def signalling(
    url: str, timeouts: Timeouts = FORBEARING, pulse: Pulse | None = None
) -> AsyncIterator[PostgresSignals]:
    """One server's signals."""
    signals = PostgresSignals(Address(url, timeouts, reads_only=True), pulse)
    try:
        yield signals
    finally:
        signals.close()


async def sent(signals: Signals, *texts: str) -> None:
    """Send them once that can be done: a database that was just ended, or started, may refuse at first."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(StoreUnavailable):
                return await signals.send([Note(ALL, text) for text in texts])
            await turn_of_the_loop()


def connections(desk: SideDesk) -> int:
    """How many there are to the database beside our own."""
    [[count]] = desk.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert isinstance(count, int)
    return count


async def alone(desk: SideDesk) -> None:
    """Returns once nobody else is connected."""
    async with asyncio.timeout(PATIENCE_S):
        while connections(desk):
            await turn_of_the_loop()


class Gate(Wire):
    """Lets nobody through before it is opened."""

    def __init__(self, upstream: Path) -> None:
        super().__init__(upstream)
        self.asked = asyncio.Event()
        self.opened = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.set()
        await self.opened.wait()
        await super().serve(reader, writer)


class Counting(Wire):
    """Speaks again with the next connection; counts them."""

    def __init__(self, upstream: Path) -> None:
        super().__init__(upstream)
        self.connections = 0
        self._another = asyncio.Event()

    async def connected(self, times: int) -> None:
        """Returns once it was asked for that many."""
        async with asyncio.timeout(PATIENCE_S):
            while self.connections < times:
                self._another.clear()
                await self._another.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.silent = False
        self.connections += 1
        self._another.set()
        await super().serve(reader, writer)
