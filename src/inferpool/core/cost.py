"""Estimates of what a flow's next task will cost, from the tokens of its recent ones."""

from typing import Final

from inferpool.core.lanes import PriorityClass, flow_owner

MAX_COST: Final = 16.0
"""The most that a task is taken to cost, in usual tasks of its lane; the least is its inverse."""

_FLOW_MEMORY: Final = 8
_LANE_MEMORY: Final = 64
"""How many recent tasks a mean follows: a flow turns quickly, the lane it is compared with slowly."""


class _Mean:
    """A plain mean of the first `memory` values, an exponentially fading one from then on."""

    __slots__ = ("memory", "seen", "value")

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.seen = 0
        self.value = 0.0

    def observe(self, value: float) -> None:
        self.seen = min(self.seen + 1, self.memory)
        self.value += (value - self.value) / self.seen


class CostMeter:
    """Recent tokens a task of each flow, relative to its lane's; at most `capacity` of either are kept.

    Beyond that the one that was seen longest ago is forgotten, which costs 1 again until it is seen anew.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._flows: dict[tuple[str, str, PriorityClass], _Mean] = {}
        self._lanes: dict[str, _Mean] = {}

    def observe(self, lane: str, owner: str, priority: PriorityClass, tokens: int) -> None:
        """Take in a completed task's tokens, prompt plus completion."""
        key = (lane, flow_owner(owner, priority), priority)
        flow = self._flows.pop(key, None) or _Mean(_FLOW_MEMORY)
        self._flows[key] = flow
        flow.observe(tokens)
        mean = self._lanes.pop(lane, None) or _Mean(_LANE_MEMORY)
        self._lanes[lane] = mean
        mean.observe(tokens)
        if len(self._flows) > self._capacity:  # a lane too many is a flow too many as well
            self._forget_oldest()

    def cost(self, lane: str, owner: str, priority: PriorityClass) -> float:
        """The cost of the flow's next task, from 1/16 to 16; 1 while nothing is known."""
        flow = self._flows.get((lane, flow_owner(owner, priority), priority))
        mean = self._lanes.get(lane)
        if flow is None or mean is None or mean.value <= 0.0:
            return 1.0
        return min(max(flow.value / mean.value, 1.0 / MAX_COST), MAX_COST)

    def _forget_oldest(self) -> None:
        # Each observation re-inserts its keys, so a dict's first key is the one seen longest ago.
        del self._flows[next(iter(self._flows))]
        if len(self._lanes) > self._capacity:
            del self._lanes[next(iter(self._lanes))]
