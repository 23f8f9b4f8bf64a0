"""Pauses between tries that go on for ever."""

import asyncio

from inferpool.core.clock import Jitter

_FIRST_S = 0.1


class Ceiling:
    """The longest pause in seconds, one for all: a quarter of the server's grace."""

    def __init__(self, grace_s: float) -> None:
        self.set(grace_s)

    def set(self, grace_s: float) -> None:
        """The server told its grace."""
        self.seconds = grace_s / 4


class Backoff:
    """Doubling pauses, each cut at random to 50-100 %, never over the ceiling."""

    def __init__(self, jitter: Jitter, ceiling: Ceiling) -> None:
        self._jitter = jitter
        self._ceiling = ceiling
        self._tries = 0

    @property
    def longest_s(self) -> float:
        """No pause is longer now."""
        return self._ceiling.seconds

    def next_s(self) -> float:
        """The length of the next pause."""
        whole = min(self._ceiling.seconds, _FIRST_S * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return whole * (0.5 + 0.5 * self._jitter.random())

    async def pause(self) -> None:
        await asyncio.sleep(self.next_s())

    def reset(self) -> None:
        """Begin with short pauses again: something worked."""
        self._tries = 0
