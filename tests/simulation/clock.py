"""Time, chance, identifiers of a run: all of them follow from its seed."""

import asyncio
from random import Random

from inferpool.core.clock import SECOND, Micros

START_US: Micros = 1_767_225_600 * SECOND
"""The first of January 2026, UTC."""


class VirtualClock:
    """The event loop's time as a time of day; the database's `now_us()` is this too."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_us(self) -> Micros:
        return START_US + int(self._loop.time() * SECOND)


class SeededIds:
    """Makes UUIDv7 strings: milliseconds of the virtual clock, a counter that keeps the order, random bits."""

    def __init__(self, clock: VirtualClock, chance: Random) -> None:
        self._clock = clock
        self._chance = chance
        self._stamp = 0

    def __call__(self) -> str:
        self._stamp = max(self._stamp + 1, self._clock.now_us() // 1000 << 12)
        digits = f"{self._stamp:015x}{self._chance.getrandbits(62) | 1 << 63:016x}"
        return f"{digits[:8]}-{digits[8:12]}-7{digits[12:15]}-{digits[15:19]}-{digits[19:]}"


class SeededSecrets:
    """Makes secrets as long as real ones."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def __call__(self) -> str:
        return f"{self._chance.getrandbits(256):064x}"
