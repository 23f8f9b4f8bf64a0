"""A store as the server opens it, a file or a database of PostgreSQL, with one registered session."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from bench.records import new_id, registration
from inferpool.core.clock import Micros
from inferpool.core.ids import SessionId
from inferpool.store.opening import Pair, open_store


class WallClock:
    """The machine's own clock."""

    def now_us(self) -> Micros:
        """Microseconds since 1970."""
        return time.time_ns() // 1000


class Opened(NamedTuple):
    """An open store with one registered session."""

    pair: Pair
    session_id: SessionId

    @property
    def transactions(self) -> int:
        """How many the writer has made."""
        _, all_of_them = self.pair.store.flushes.operations.buckets()[-1]
        return all_of_them


async def create(where: Path | str) -> None:
    """Make the file, or bring an empty database up to its schema."""
    await (await open_store(where, WallClock(), new_id())).close()


@asynccontextmanager
async def opened(where: Path | str) -> AsyncIterator[Opened]:
    """Open the store, register a session, close it at the end."""
    pair = await open_store(where, WallClock(), new_id())
    try:
        session_id = SessionId(new_id())
        await pair.store.register(registration(session_id))
        yield Opened(pair, session_id)
    finally:
        await pair.close()
