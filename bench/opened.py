"""A store as the server opens it, with the commits counted."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from bench.records import new_id, registration
from inferpool.core.clock import Micros
from inferpool.core.ids import SessionId
from inferpool.store.runners import InlineRunner, ThreadRunner, Work
from inferpool.store.sqlite import SqlitePair, open_sqlite

T = TypeVar("T")


class WallClock:
    """The machine's own clock."""

    def now_us(self) -> Micros:
        """Microseconds since 1970."""
        return time.time_ns() // 1000


class CountingRunner(ThreadRunner):
    """A thread that counts what it was given: one piece of work is one transaction."""

    def __init__(self) -> None:
        super().__init__("writer")
        self.transactions = 0

    async def run(self, work: Work[T]) -> T:
        """Count, then do the work."""
        self.transactions += 1
        return await super().run(work)


class Opened(NamedTuple):
    """An open store with one registered session."""

    pair: SqlitePair
    runner: CountingRunner
    session_id: SessionId


async def create(path: Path) -> None:
    """Make the file with its schema."""
    made = await open_sqlite(path, clock=WallClock(), runner=InlineRunner(), readers=[])
    await made.close()


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Opened]:
    """Open the file, register a session, close it at the end."""
    runner = CountingRunner()
    pair = await open_sqlite(path, clock=WallClock(), runner=runner, readers=[ThreadRunner("reader")])
    try:
        session_id = SessionId(new_id())
        await pair.store.register(registration(session_id))
        yield Opened(pair, runner, session_id)
    finally:
        await pair.close()
