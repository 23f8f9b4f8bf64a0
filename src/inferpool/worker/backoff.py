"""Pauses between tries that go on for ever."""

import asyncio

from inferpool.core.clock import Jitter

_FIRST_S = 0.1


class Backoff:
    """Doubling pauses, each cut at random to 50-100 %, never over `ceiling_s` seconds."""

    def __init__(self, jitter: Jitter, ceiling_s: float) -> None:
        self._jitter = jitter
        self._tries = 0
        self.ceiling_s = ceiling_s

    def next_s(self) -> float:
        """The length of the next pause."""
        whole = min(self.ceiling_s, _FIRST_S * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return whole * (0.5 + 0.5 * self._jitter.random())

    async def pause(self) -> None:
        await asyncio.sleep(self.next_s())

    def reset(self) -> None:
        """Begin with short pauses again: something worked."""
        self._tries = 0
