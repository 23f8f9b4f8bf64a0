"""The unit of stored time with the port that tells it.

Stored times are integer microseconds since 1970-01-01 UTC. The database's clock decides every horizon; the clock here
only labels. Durations inside a running program follow the event loop's own clock, so that a simulation can hurry it.
"""

from typing import Protocol, TypeAlias

Micros: TypeAlias = int
"""Microseconds: since the Unix epoch for a time, plain for a duration."""

SECOND: Micros = 1_000_000
MINUTE: Micros = 60 * SECOND
HOUR: Micros = 60 * MINUTE
DAY: Micros = 24 * HOUR


def micros(seconds: float) -> Micros:
    """A duration in seconds as whole microseconds."""
    return round(seconds * SECOND)


class Clock(Protocol):
    """Tells the present."""

    def now_us(self) -> Micros:
        """Microseconds since the Unix epoch, UTC."""
        ...


class Jitter(Protocol):
    """A source of randomness that a simulation can seed."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...
