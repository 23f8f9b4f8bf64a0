"""Counts of what was observed, in fixed buckets: what a histogram of the metrics is made of.

A plain list of numbers that one thread writes: an observation costs a search in a short tuple, no lock, no label look-up.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
)
"""Bounds for times from a commit to a long answer."""
SIZES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
"""Bounds for how many went together."""


class Histogram:
    """How many observations fell below each bound (inclusive, ascending), with their sum."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        """Of all that was observed, in the unit of the bounds."""

    def observe(self, value: float) -> None:
        """Count one observation; what a clock that was set back makes negative counts as nothing."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += max(value, 0.0)

    def buckets(self) -> list[tuple[float, int]]:
        """Each bound with how many observations were at most that; the last bound is infinity, its count that of all."""
        return list(zip((*self._bounds, float("inf")), accumulate(self._counts), strict=True))


class Flushes:
    """The transactions of a store's writer."""

    __slots__ = ("operations", "seconds")

    def __init__(self) -> None:
        self.operations = Histogram(SIZES)
        """Operations that a transaction carried."""
        self.seconds = Histogram()
        """How long a transaction took, its commit included."""
