"""How this server stands at the moment: counts of what is there, taken when somebody looks."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from inferpool.core.lanes import LaneScope, parse_lane, pool_lane
from inferpool.dispatch.backlog import Backlog
from inferpool.dispatch.catalog import Catalog
from inferpool.dispatch.slots import Engine

POOLS_MOST: Final = 100
"""Pools that are told by name; all others together are `OTHERS`, so that workers cannot make the labels many."""
OTHERS: Final = "(others)"
TIERS: Final = "(tiers)"
"""Stands for the tasks that wait for any llm of a tier, of whatever pool."""


class PoolGauge(msgspec.Struct):
    """What waits for a pool or for an llm of it, with the live slots of its llms' engines."""

    pending: int = 0
    slots: int = 0


def pool_gauges(backlog: Backlog, catalog: Catalog) -> dict[str, PoolGauge]:
    """The pools in which something waits or somebody serves: those with the longest lines first."""
    pending = _pending(backlog, catalog)
    names = sorted({*catalog.pools, *pending}, key=lambda name: (-pending[name], name))
    told: dict[str, PoolGauge] = {}
    for number, name in enumerate(names):
        gauge = told.setdefault(name if number < POOLS_MOST else OTHERS, PoolGauge())
        gauge.pending += pending[name]
        gauge.slots += catalog.slots(pool_lane(name))
    return told


def _pending(backlog: Backlog, catalog: Catalog) -> Counter[str]:
    pending: Counter[str] = Counter()
    for lane in backlog.lanes():
        scope, name = parse_lane(lane)
        if scope is LaneScope.LLM:
            llm = catalog.llm(name)
            pending[llm.pool if llm else OTHERS] += backlog.pending(lane)
        else:
            pending[name if scope is LaneScope.POOL else TIERS] += backlog.pending(lane)
    return pending


def engines(catalog: Catalog) -> Iterator[Engine]:
    """The engines of every session that has a channel to this server."""
    for session in catalog.sessions.values():
        if session.open:
            yield from session.engines.values()
