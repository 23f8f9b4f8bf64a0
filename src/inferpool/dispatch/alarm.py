"""Gives up waiting futures after a short while, by one timer for all of them.

A timer of the event loop for each costs 1 % of the server's work a call, hardly any of which ever rings.
"""

import asyncio
import heapq
import itertools
import math
from typing import Final

SHORT_S: Final = 1.0
"""Longer waits take timers of their own: here a future is kept until its time is over, even if it was answered long before."""
_EARLY_S: Final = 0.001
"""An event loop that counts milliseconds may ring so much too early."""


class Alarm:
    """One timer, which rings for the next future that is due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[tuple[float, int, asyncio.Future[None]]] = []
        self._serial = itertools.count()
        self._rings_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, future: asyncio.Future[None], after_s: float) -> None:
        """Give the future its result so many seconds from now, at most `SHORT_S`, unless it has one by then."""
        due = self._loop.time() + after_s
        heapq.heappush(self._due, (due, next(self._serial), future))
        if due < self._rings_at:
            self._ring_at(due)

    def _ring_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = due
        self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        now = self._loop.time() + _EARLY_S
        while self._due and (self._due[0][0] <= now or self._due[0][2].done()):
            future = heapq.heappop(self._due)[2]
            if not future.done():
                future.set_result(None)
        self._timer, self._rings_at = None, math.inf
        if self._due:
            self._ring_at(self._due[0][0])
