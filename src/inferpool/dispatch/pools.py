"""What each pool does right now: who is in it, how much runs, how much waits for how long."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from inferpool.core.access import NO_LIMITS, Limits
from inferpool.core.clock import SECOND
from inferpool.core.lanes import LaneScope, llm_lane, parse_lane, pool_lane
from inferpool.core.llm import Llm
from inferpool.dispatch.catalog import Catalog
from inferpool.dispatch.shared import Shared
from inferpool.dispatch.slots import HeldState

_READ: Final = 10_000
"""Rows that one look may read, over all lanes (spec section 2, "Conventions")."""
_RUNNING: Final = frozenset({HeldState.UNWRITTEN, HeldState.WRITTEN})


class PoolView(msgspec.Struct, frozen=True, kw_only=True):
    """One pool. Waits in seconds; `oldest_wait_s` is None where nothing waits."""

    name: str
    members: list[Llm]
    slots: int
    """Live slots, busy ones too."""
    running: int
    pending: int
    """Tasks that wait for the pool, or pinned for one of its llms."""
    oldest_wait_s: float | None
    expected_wait_s: float | None
    """Until a task that came now would start behind all that waits; None where nothing is known of the lane."""


class Pools:
    """The pools with a member, or with something that waits."""

    def __init__(self, shared: Shared) -> None:
        self._reader = shared.reader
        self._catalog = shared.catalog
        self._backlog = shared.backlog
        self._pace = shared.pace
        self._peers = shared.peers
        self._clock = shared.clock

    def names(self, limits: Limits = NO_LIMITS) -> list[str]:
        """Their names in order; with limits, those alone that lie within, or have a member that does."""
        waiting = {name for scope, name in map(parse_lane, self._backlog.lanes()) if scope is LaneScope.POOL}
        return sorted(name for name in {*self._catalog.pools, *waiting} if self._sees(limits, name))

    def _sees(self, limits: Limits, name: str) -> bool:
        return not limits or name in limits.pools or any(limits.sees(llm, name) for llm in self._members(name))

    def _members(self, name: str) -> dict[str, Llm]:
        return dict(self._catalog.pools.get(name, {}))

    async def views(self, names: Sequence[str], limits: Limits = NO_LIMITS) -> list[PoolView]:
        """These pools as they are now, with those members that lie within the limits."""
        lanes = {name: self._lanes(name) for name in names}
        waiting = [lane for of_pool in lanes.values() for lane in of_pool if self._backlog.pending(lane)]
        ages = dict(await self._reader.oldest(waiting, max(1, _READ // max(1, len(waiting)))))
        running = running_by_pool(self._catalog) + self._peers.running()
        return [self._view(name, lanes[name], ages, running[name], limits) for name in names]

    def _lanes(self, name: str) -> list[str]:
        return [pool_lane(name), *map(llm_lane, self._members(name))]

    def _view(self, name: str, lanes: Sequence[str], ages: dict[str, int], running: int, limits: Limits) -> PoolView:
        made = [ages[lane] for lane in lanes if lane in ages]
        return PoolView(
            name=name,
            members=[llm for _, llm in sorted(self._members(name).items()) if limits.sees(llm.name, name)],
            slots=self._catalog.slots(pool_lane(name)) + self._catalog.slots_elsewhere(pool_lane(name)),
            running=running,
            pending=sum(map(self._backlog.pending, lanes)),
            oldest_wait_s=round(max(0, self._clock.now_us() - min(made)) / SECOND, 3) if made else None,
            expected_wait_s=self._pace.newcomer_s(pool_lane(name)),
        )


def running_by_pool(catalog: Catalog) -> Counter[str]:
    """Attempts under way at this server, by the pool of their llm."""
    count: Counter[str] = Counter()
    for session in catalog.sessions.values():
        for held in session.held.values():
            llm = session.llms.get(held.llm_name)
            if llm is not None and held.state in _RUNNING:
                count[llm.pool] += 1
    return count
