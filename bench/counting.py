"""Counts the rows that PostgreSQL reads while a server is asked."""

import asyncio
import math
import time
from typing import Final

import msgspec

from bench.connection import get
from bench.effort import Effort
from bench.load import ask_once
from bench.postgres import desk, text

_IDLE_LOOKS: Final = 4


class Read(msgspec.Struct, frozen=True):
    """What was read."""

    rows: int
    """Of tables."""
    entries: int
    """Of indexes; most lead to one of the rows."""


class Count:
    """Tells how much was read since it last told. `nudge`: the path of a read of one row, which makes its reader tell."""

    def __init__(self, url: str, port: int, nudge: str, effort: Effort) -> None:
        self._effort = effort
        self._url = url
        self._port = port
        self._nudge = get(nudge)
        self._before = Read(0, 0)
        self._at = 0.0
        self._idle_rows = 0
        self._idle_s = 1.0

    async def begin(self) -> None:
        """Look at what the server reads while nobody asks: its heartbeats are not counted later."""
        await self.late()
        looks = [await self.told() for _ in range(_IDLE_LOOKS)]
        self._idle_rows, self._idle_s = max(one.rows for one in looks), self._effort.settle_s

    async def told(self) -> Read:
        """Since it was last asked."""
        await asyncio.sleep(self._effort.settle_s)
        await ask_once(self._port, self._nudge)
        return await self._since()

    async def late(self) -> Read:
        """What those tell who were not asked again."""
        await asyncio.sleep(self._effort.late_s)
        return await self._since()

    async def _since(self) -> Read:
        async with desk(self._url) as connection:
            [row] = await connection.fetch(text("rows_read"))
        before, self._before = self._before, msgspec.convert(dict(row), Read)
        at, self._at = self._at, time.perf_counter()
        rows = self._before.rows - before.rows - self._own(self._at - at)
        return Read(max(0, rows), self._before.entries - before.entries)

    def _own(self, seconds: float) -> int:
        """The most that the server may have read by itself in that time: some handfuls of rows."""
        return self._idle_rows * math.ceil(seconds / self._idle_s)
