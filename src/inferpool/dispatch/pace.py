"""How long a place in a lane is likely to wait, from how long recent tasks ran, from who else wants the same slots."""

from typing import Final

from inferpool.core.llm import Llm, LlmStatus
from inferpool.dispatch.backlog import Backlog
from inferpool.dispatch.catalog import Catalog
from inferpool.dispatch.live import LiveSession, lanes_of
from inferpool.dispatch.peers import Peers
from inferpool.dispatch.slots import Engine

_MEMORY: Final = 0.1
"""The weight of the newest run in a lane's mean."""
_SHORTEST_S: Final = 0.001
"""What a run is taken to last at the least."""
_LANE_LIMIT: Final = 10_000
"""Lanes that are remembered; beyond it the one seen longest ago is forgotten."""


class Pace:
    """The mean run of each lane's tasks, in seconds."""

    def __init__(self, catalog: Catalog, backlog: Backlog, peers: Peers) -> None:
        self._catalog = catalog
        self._backlog = backlog
        self._peers = peers
        self._means: dict[str, float] = {}

    def ran(self, lane: str, seconds: float) -> None:
        """A task of the lane ran this long until its answer."""
        mean = self._means.pop(lane, seconds)
        self._means[lane] = mean + _MEMORY * (seconds - mean)
        if len(self._means) > _LANE_LIMIT:
            del self._means[next(iter(self._means))]

    def means(self) -> dict[str, float]:
        """The mean run of the lanes' tasks here."""
        return self._means

    def newcomer_s(self, lane: str) -> float | None:
        """Seconds until a task that came now would start behind all that wait: none where a slot is free, nobody waits."""
        waiting = self._backlog.pending(lane)
        if not waiting and (self._peers.free(lane) or self._has_room(lane)):
            return 0.0
        return self.expected_s(lane, waiting + 1)

    def expected_s(self, lane: str, position: int) -> float | None:
        """Seconds until the task at this position (1: the next) starts; None where nothing is known of the lane.

        An engine takes from its lanes in turn (spec section 6), so in the time of one task of each lane that waits there, each
        of its slots takes one of this lane.
        """
        mean = self._means.get(lane) or self._peers.pace(lane)
        if mean is None:
            return None
        starts = sum(engine.slots / self._turn_s(engine, lane, mean) for engine in self._engines(lane))
        starts += self._catalog.slots_elsewhere(lane) / max(_SHORTEST_S, mean)
        return round(position / starts, 3) if starts else None

    def _has_room(self, lane: str) -> bool:
        """Whether a task of the lane would start here at once."""
        return any(_has_room(session, llm) for session, llm in self._catalog.serving(lane))

    def _engines(self, lane: str) -> list[Engine]:
        """Those that take from the lane, each once."""
        found = {(session.id, llm.engine): session.engines[llm.engine] for session, llm in self._catalog.serving(lane)}
        return list(found.values())

    def _turn_s(self, engine: Engine, lane: str, mean: float) -> float:
        """How long a slot is busy with a task of each of the engine's lanes that want it."""
        others = {other for llm in engine.llms for other in lanes_of(llm) if self._backlog.pending(other)} - {lane}
        return max(_SHORTEST_S, mean + sum(self._means.get(other, mean) for other in others))


def _has_room(session: LiveSession, llm: Llm) -> bool:
    """Whether a task for the llm would start at once."""
    return session.open and llm.status is LlmStatus.ACTIVE and session.engines[llm.engine].free > 0
