"""Opens real stores under a clock that the test sets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from inferpool.core.clock import SECOND, Micros
from inferpool.store.runners import InlineRunner, Runner
from inferpool.store.sqlite import SqlitePair, open_sqlite

START: Micros = 1_700_000_000 * SECOND


class SettableClock:
    """The database's clock: it stands still until a test moves it."""

    def __init__(self, now: Micros = START) -> None:
        self.now = now

    def now_us(self) -> Micros:
        return self.now

    def advance(self, by: Micros) -> None:
        self.now += by


@asynccontextmanager
async def opened_sqlite(
    path: Path,
    clock: SettableClock | None = None,
    runner: Runner | None = None,
    readers: list[Runner] | None = None,
) -> AsyncIterator[SqlitePair]:
    """A store with its reader (`pair.store`, `pair.reader`) on the database file at `path`, closed at the end.

    Everything runs inline unless runners are given.
    """
    pair = await open_sqlite(
        path,
        clock=clock or SettableClock(),
        runner=runner or InlineRunner(),
        readers=readers or [InlineRunner()],
    )
    try:
        yield pair
    finally:
        await pair.close()
