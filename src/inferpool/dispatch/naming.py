"""From the name that a caller gives to the lane that its task stands in (spec section 4, "Routing")."""

import difflib
from collections.abc import Iterable
from typing import Final

from inferpool.core.access import NO_LIMITS, Limits
from inferpool.core.errors import InvalidRequest, ModelNotFound, NotFound
from inferpool.core.lanes import llm_lane, pool_lane, tier_lane
from inferpool.core.llm import NAME_LIMIT, Llm, LlmStatus
from inferpool.core.task import QueueMode, Routing
from inferpool.dispatch.live import lanes_of
from inferpool.dispatch.published import Published

_TIER: Final = "tier:"
_NAMED: Final = 3
"""Names that a refusal offers."""


class Naming:
    """Which names callers may use: pools, llms, tiers."""

    def __init__(self, published: Published) -> None:
        self._published = published

    def live(self, routing: Routing, endpoint: str) -> bool:
        """Whether an llm that may take the call is live: from its register to its leave or the end of its grace.

        A worker that the restart of this server cut off is live too, for its grace.
        """
        return any(llm.status is not LlmStatus.INACTIVE and llm.serves(endpoint) for llm in self._behind(routing))

    def route(self, model: str, mode: QueueMode, *, pin: bool, limits: Limits = NO_LIMITS) -> Routing:
        """The lane of a call that names `model`.

        Raises `InvalidRequest` for an impossible name, `NotFound` for a pin on no llm, `ModelNotFound` for a name that
        nobody ever published. What lies outside the caller's limits is as unknown as that; an llm within them whose
        pool is not takes the call itself.
        """
        if not limits:
            return self._route(model, mode, pin=pin)
        llm = self._published.by_name.get(model)
        if llm is not None and model in limits.llms and llm.pool not in limits.pools:
            return self._to_llm(llm)
        try:
            routing = self._route(model, mode, pin=pin)
        except NotFound as error:
            raise type(error)(self._unknown(model, limits), param="model") from error
        if not limits.covers(routing.lane, routing.pool_name):
            kind = NotFound if pin else ModelNotFound
            raise kind.unseen(self._unknown(model, limits), param="model")
        return routing

    def _unknown(self, model: str, limits: Limits) -> str:
        return f"no llm or pool that this token may call is named {model!r}{self._nearest(model, limits)}"

    def _route(self, model: str, mode: QueueMode, *, pin: bool) -> Routing:
        if not model or len(model) > NAME_LIMIT + len(_TIER):
            raise InvalidRequest(f"`model` must be a name of 1 to {NAME_LIMIT} characters", param="model")
        llm = self._published.by_name.get(model)
        if pin:
            if llm is None:
                raise NotFound(
                    f"no llm is called {model!r}; a pin names an llm, not a pool{self._nearest(model)}", "model"
                )
            return self._to_llm(llm)
        if model.startswith(_TIER) and model in self._published.lanes:
            return Routing(lane=tier_lane(model.removeprefix(_TIER)), model=model, tier=model.removeprefix(_TIER))
        if pool_lane(model) in self._published.lanes:
            return Routing(lane=pool_lane(model), pool_name=model, model=model)
        if llm is None:
            raise ModelNotFound(f"no worker ever published {model!r}{self._nearest(model)}", param="model")
        if mode is not QueueMode.WAIT:
            return self._to_llm(llm)
        return Routing(lane=pool_lane(llm.pool), pool_name=llm.pool, llm_name=model, model=model)

    def _to_llm(self, llm: Llm) -> Routing:
        return Routing(lane=llm_lane(llm.name), pool_name=llm.pool, llm_name=llm.name, model=llm.name)

    def check_endpoint(self, routing: Routing, endpoint: str, limits: Limits = NO_LIMITS) -> None:
        """Raises `ModelNotFound` where llms stand behind the lane, none of which has the endpoint; names those that do."""
        behind = list(self._behind(routing))
        if not behind or any(llm.serves(endpoint) for llm in behind):
            return
        names = limits.llms | limits.pools
        others = {
            llm.pool
            for llm in self._published.by_name.values()
            if llm.serves(endpoint) and (not limits or llm.pool in names)
        }
        told = ", ".join(repr(name) for name in sorted(others)[:_NAMED])
        raise ModelNotFound(
            f"{routing.model!r} does not serve {endpoint}; {f'these do: {told}' if told else 'no llm here does'}",
            "model",
        )

    def _behind(self, routing: Routing) -> Iterable[Llm]:
        """The llms, live or not, that may take from the call's lane."""
        if routing.pool_name is None:
            return [llm for llm in self._published.by_name.values() if routing.lane in lanes_of(llm)]
        return [
            llm for llm in self._published.pools.get(routing.pool_name, {}).values() if routing.lane in lanes_of(llm)
        ]

    def _nearest(self, model: str, limits: Limits = NO_LIMITS) -> str:
        names = sorted(
            limits.llms & self._published.by_name.keys() | limits.pools
            if limits
            else {*self._published.by_name, *self._published.pools}
        )
        close = difflib.get_close_matches(model, names, n=3, cutoff=0.4) or names[:3]
        return f"; did you mean {', '.join(repr(name) for name in close)}?" if close else "; no model is published yet"
