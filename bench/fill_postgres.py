"""Fills a PostgreSQL store with tasks that wait, that have ended, in statements over many rows at once."""

import asyncio
from collections.abc import Iterator
from typing import Final

import msgspec

from bench.opened import create
from bench.postgres import desk, text
from bench.script import MODEL, Wish, request_body

PAGE: Final = 100_000
"""Rows a statement."""
_BODY: Final = request_body(Wish(1), size=0)


def waiting_id(number: int) -> str:
    """The id of the waiting task of that number: fill_waiting.sql makes the same."""
    return f"01900000-{number // 65536:04x}-7000-8000-{number:012x}"


class Filling(msgspec.Struct, frozen=True, kw_only=True):
    """What to fill in. The owners come in turn."""

    waiting: int
    ended: int
    owners: int
    pool: str = MODEL
    only_read: bool = False
    """Nothing will be measured there but how many rows are read: it need not last."""


async def fill(url: str, filling: Filling) -> None:
    """Fill the empty database, its indexes made at the end; leave it as if a server had had the time to clean up."""
    await create(url)
    async with desk(url) as connection:
        if filling.only_read:
            await connection.execute(text("only_read"))
        await connection.execute(text("bulk_begin"))
        indexes = await connection.fetch(text("indexes"))
        for index in indexes:
            await connection.execute(index["drop"])
        owned = filling.owners, filling.pool, _BODY
        # At once: the server has more than one core.
        await asyncio.gather(
            _insert(url, "fill_waiting", filling.waiting, *owned),
            _insert(url, "fill_ended", filling.ended, *owned),
            _insert(url, "fill_attempts", filling.ended),
        )
        for index in indexes:
            await connection.execute(index["make"])
        for step in ("bulk_end", "vacuum", "checkpoint"):
            await connection.execute(text(step))


async def _insert(url: str, statement: str, rows: int, *rest: object) -> None:
    async with desk(url) as connection:
        for first, last in _pages(rows):
            await connection.execute(text(statement), first, last, *rest)


def _pages(rows: int) -> Iterator[tuple[int, int]]:
    """The first, the last number of each page."""
    for first in range(0, rows, PAGE):
        yield first, min(first + PAGE, rows) - 1
