"""The names of lanes beside the priority classes whose shares order each of them."""

from enum import StrEnum
from typing import Final, NamedTuple


class LaneScope(StrEnum):
    """Who may take from a lane: any llm of a pool, one pinned llm, or any llm of a tier."""

    POOL = "pool"
    LLM = "llm"
    TIER = "tier"


_POOL: Final = f"{LaneScope.POOL}:"
_LLM: Final = f"{LaneScope.LLM}:"
_TIER: Final = f"{LaneScope.TIER}:"


class LaneName(NamedTuple):
    """A lane's two parts; `name` is a pool's, an llm's or a tier's and may hold colons itself."""

    scope: LaneScope
    name: str


def pool_lane(name: str) -> str:
    """The lane of the tasks that every llm of the pool `name` may take."""
    return _POOL + name


def llm_lane(name: str) -> str:
    """The lane of the tasks pinned to the llm `name`."""
    return _LLM + name


def tier_lane(name: str) -> str:
    """The lane of the tasks that every llm of the tier `name` may take."""
    return _TIER + name


def parse_lane(lane: str) -> LaneName:
    """Split a stored lane at its first colon; raises ValueError for what no lane function made."""
    scope, colon, name = lane.partition(":")
    if not colon or not name:
        raise ValueError(f"not a lane: {lane!r}")
    return LaneName(LaneScope(scope), name)


class PriorityClass(StrEnum):
    """A task's class: a share of its lane, never a precedence, so nothing starves."""

    PRIORITY = "priority"
    DEFAULT = "default"
    FLEX = "flex"
    BATCH = "batch"


PRIORITY_CLASSES: Final[dict[str, PriorityClass]] = {one.value: one for one in PriorityClass}
"""Each class under its name: a look here costs a tenth of a call of the enumeration."""

SHARES: Final[dict[PriorityClass, float]] = {
    PriorityClass.PRIORITY: 16.0,
    PriorityClass.DEFAULT: 4.0,
    PriorityClass.FLEX: 1.0,
    PriorityClass.BATCH: 1 / 25,
}
"""Each class's share of a lane, relative to `flex`."""

_CLASS_OF_TIER: Final[dict[str, PriorityClass]] = {
    "priority": PriorityClass.PRIORITY,
    "flex": PriorityClass.FLEX,
    "batch": PriorityClass.BATCH,
}


def class_for_service_tier(service_tier: str | None) -> PriorityClass:
    """The class that a call's OpenAI `service_tier` names.

    `auto`, `default`, `scale` (capacity reserved at OpenAI, of which there is none here), an unknown word
    or none at all mean the default class, as a provider without that tier would treat them.
    """
    return _CLASS_OF_TIER.get(service_tier or "", PriorityClass.DEFAULT)


def flow_owner(owner: str, priority: PriorityClass) -> str:
    """The owner that names the flow: nobody for `batch`, which is one flow of all owners."""
    return "" if priority is PriorityClass.BATCH else owner
