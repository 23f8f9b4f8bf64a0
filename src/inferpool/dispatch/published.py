"""The llms that were ever published here, found by name, by pool, by session.

Every change touches the llms of one session alone: a thousand workers that come back at once cost a thousand small changes.
"""

import heapq
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import msgspec

from inferpool.core.access import NO_LIMITS, Limits
from inferpool.core.clock import Micros
from inferpool.core.ids import SessionId
from inferpool.core.llm import Llm, LlmStatus
from inferpool.dispatch.live import lanes_of

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Published:
    """The known llms, live or not."""

    def __init__(self) -> None:
        self._llms: dict[str, Llm] = {}
        self._pools: dict[str, dict[str, Llm]] = {}
        self._names: dict[SessionId, dict[str, None]] = {}
        self.lanes: set[str] = set()
        """Lanes that an llm ever took from: a name stays known when its llms are gone."""

    @property
    def by_name(self) -> Mapping[str, Llm]:
        """All of them."""
        return self._llms

    @property
    def pools(self) -> Mapping[str, Mapping[str, Llm]]:
        """The same under the names of their effective pools."""
        return self._pools

    def page(self, after: str, limit: int, limits: Limits = NO_LIMITS) -> list[Llm]:
        """The next `limit` llms in the order of their names, of those within the limits."""
        behind = (one.name for one in self._llms.values() if one.name > after and limits.sees(one.name, one.pool))
        return [self._llms[name] for name in heapq.nsmallest(limit, behind)]

    def put(self, llm: Llm) -> None:
        """Take it as it is now, whoever published it before."""
        self.remove(llm.name)
        self._llms[llm.name] = llm
        self._pools.setdefault(llm.pool, {})[llm.name] = llm
        if llm.session_id is not None:
            self._names.setdefault(llm.session_id, {})[llm.name] = None
        self.lanes.update(lanes_of(llm))

    def remove(self, name: str) -> None:
        """Forget it; its lanes stay known."""
        known = self._llms.pop(name, None)
        if known is None:
            return
        _drop(self._pools, known.pool, name)
        if known.session_id is not None:
            _drop(self._names, known.session_id, name)

    def quiet(self, session_id: SessionId, now: Micros, but: Iterable[str] = ()) -> None:
        """The llms of a session take no more work, except those named."""
        for name in [name for name in self._names.get(session_id, ()) if name not in but]:
            llm = self._llms[name]
            if llm.status is not LlmStatus.INACTIVE:
                self.put(msgspec.structs.replace(llm, status=LlmStatus.INACTIVE, updated_at=now))


def _drop(groups: dict[K, dict[str, V]], key: K, name: str) -> None:
    """Take the name out of its group; an empty group goes with it."""
    group = groups[key]
    del group[name]
    if not group:
        del groups[key]
