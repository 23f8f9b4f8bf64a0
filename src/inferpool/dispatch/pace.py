"""How long a place in a lane is likely to wait, from how long its recent tasks ran."""

from typing import Final

from inferpool.dispatch.catalog import Catalog

_MEMORY: Final = 0.1
"""The weight of the newest run in a lane's mean."""
_LANE_LIMIT: Final = 10_000
"""Lanes that are remembered; beyond it the one seen longest ago is forgotten."""


class Pace:
    """The mean run of each lane's tasks, in seconds."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._means: dict[str, float] = {}

    def ran(self, lane: str, seconds: float) -> None:
        """A task of the lane ran this long until its answer."""
        mean = self._means.pop(lane, seconds)
        self._means[lane] = mean + _MEMORY * (seconds - mean)
        if len(self._means) > _LANE_LIMIT:
            del self._means[next(iter(self._means))]

    def expected_s(self, lane: str, position: int) -> float | None:
        """Seconds until the task at this position (1: the next) starts; None where nothing is known of the lane."""
        slots = self._catalog.slots(lane)
        mean = self._means.get(lane)
        if mean is None or not slots:
            return None
        return round(position * mean / slots, 3)
