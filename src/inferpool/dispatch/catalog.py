"""Which names callers may use: pools, llms, tiers, with the sessions that serve them now."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from inferpool.core.access import NO_LIMITS, Limits
from inferpool.core.clock import Micros
from inferpool.core.errors import InvalidRequest, ModelNotFound, NotFound
from inferpool.core.ids import SessionId
from inferpool.core.lanes import llm_lane, pool_lane, tier_lane
from inferpool.core.llm import NAME_LIMIT, Llm, LlmStatus
from inferpool.core.task import QueueMode, Routing
from inferpool.dispatch.live import LiveSession, lanes_of
from inferpool.store.protocol import StoreReader

_TIER: Final = "tier:"
_PAGE: Final = 1000
_NAMED: Final = 3
"""Names that a refusal offers."""


class ModelEntry(msgspec.Struct, frozen=True):
    """A name that `/v1/models` shows. `kind` is `pool` or `llm`."""

    name: str
    created_at: Micros
    kind: str


class Catalog:
    """The names of the store's llms, the live sessions behind them."""

    def __init__(self) -> None:
        self.sessions: dict[SessionId, LiveSession] = {}
        """Sessions registered here, until their leave or loss."""
        self._llms: dict[str, Llm] = {}
        self._pools: dict[str, dict[str, Llm]] = {}
        self._known: set[str] = set()
        self._serving: dict[str, list[tuple[LiveSession, Llm]]] = {}

    async def recall(self, reader: StoreReader) -> None:
        """Read the names back: at a start, or when a sweep deleted some."""
        llms: list[Llm] = []
        while page := await reader.llms(llms[-1].name if llms else None, _PAGE):
            llms.extend(page)
        self._llms = {llm.name: llm for llm in llms}
        self._known.update(lane for lane, _ in await reader.clocks())
        self._reindex()

    def publish(self, llms: Iterable[Llm], session_id: SessionId) -> None:
        """Take the llms of a session as they are now; those it no longer publishes stay known, inactive."""
        self._quiet(session_id)
        self._llms.update({llm.name: llm for llm in llms})
        self._reindex()

    def deactivate(self, session_id: SessionId) -> None:
        """A session is gone: its llms stay known, inactive."""
        self._quiet(session_id)
        self._reindex()

    def _quiet(self, session_id: SessionId) -> None:
        for name, llm in self._llms.items():
            if llm.session_id == session_id:
                self._llms[name] = msgspec.structs.replace(llm, status=LlmStatus.INACTIVE)

    def _reindex(self) -> None:
        self._pools = {}
        for llm in self._llms.values():
            self._pools.setdefault(llm.pool, {})[llm.name] = llm
        self._known.update(lane for llm in self._llms.values() for lane in lanes_of(llm))
        self._serving = {}
        for session in self.sessions.values():
            for llm in session.llms.values():
                self._index(session, llm)

    def _index(self, session: LiveSession, llm: Llm) -> None:
        if llm.status is not LlmStatus.INACTIVE:
            for lane in lanes_of(llm):
                self._serving.setdefault(lane, []).append((session, llm))

    def serving(self, lane: str, endpoint: str | None = None) -> Iterator[tuple[LiveSession, Llm]]:
        """Live sessions with their llms that may take from the lane, busy ones too."""
        for session, llm in self._serving.get(lane, ()):
            if not (session.leaving or session.gone) and (endpoint is None or llm.serves(endpoint)):
                yield session, llm

    def slots(self, lane: str) -> int:
        """Slots, busy ones too, that may take from the lane; llms of one engine share theirs."""
        engines = {(session.id, llm.engine): llm.slots for session, llm in self.serving(lane)}
        return sum(engines.values())

    @property
    def pools(self) -> Mapping[str, Mapping[str, Llm]]:
        """The known llms, live or not, under the names of their effective pools."""
        return self._pools

    def lanes(self) -> list[str]:
        """Every lane that a live session serves."""
        return list(self._serving)

    def route(self, model: str, mode: QueueMode, *, pin: bool, limits: Limits = NO_LIMITS) -> Routing:
        """The lane of a call that names `model`.

        Raises `InvalidRequest` for an impossible name, `NotFound` for a pin on no llm, `ModelNotFound` for a name that
        nobody ever published. What lies outside the caller's limits is as unknown as that; an llm within them whose
        pool is not takes the call itself.
        """
        if not limits:
            return self._route(model, mode, pin=pin)
        llm = self._llms.get(model)
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
        llm = self._llms.get(model)
        if pin:
            if llm is None:
                raise NotFound(
                    f"no llm is called {model!r}; a pin names an llm, not a pool{self._nearest(model)}", "model"
                )
            return self._to_llm(llm)
        if model.startswith(_TIER) and model in self._known:
            return Routing(lane=tier_lane(model.removeprefix(_TIER)), model=model, tier=model.removeprefix(_TIER))
        if pool_lane(model) in self._known:
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
        others = {llm.pool for llm in self._llms.values() if llm.serves(endpoint) and (not limits or llm.pool in names)}
        told = ", ".join(repr(name) for name in sorted(others)[:_NAMED])
        raise ModelNotFound(
            f"{routing.model!r} does not serve {endpoint}; {f'these do: {told}' if told else 'no llm here does'}",
            "model",
        )

    def _behind(self, routing: Routing) -> Iterable[Llm]:
        """The llms, live or not, that may take from the call's lane."""
        if routing.pool_name is None:
            return [llm for llm in self._llms.values() if routing.lane in lanes_of(llm)]
        return [llm for llm in self._pools.get(routing.pool_name, {}).values() if routing.lane in lanes_of(llm)]

    def _nearest(self, model: str, limits: Limits = NO_LIMITS) -> str:
        names = sorted(limits.llms & self._llms.keys() | limits.pools if limits else {*self._llms, *self._pools})
        close = difflib.get_close_matches(model, names, n=3, cutoff=0.4) or names[:3]
        return f"; did you mean {', '.join(repr(name) for name in close)}?" if close else "; no model is published yet"

    def models(self, limits: Limits = NO_LIMITS) -> list[ModelEntry]:
        """Pools by name, then the other llms; those without a live llm, or outside the limits, are left out."""
        active = [llm for llm in self._llms.values() if llm.status is not LlmStatus.INACTIVE]
        awake = {llm.name: llm for llm in active if limits.sees(llm.name, llm.pool)}
        pools: dict[str, Micros] = {}
        for llm in awake.values():
            if limits and llm.pool not in limits.pools:
                continue
            pools[llm.pool] = min(llm.created_at, pools.get(llm.pool, llm.created_at))
        others = sorted((name, llm.created_at) for name, llm in awake.items() if name not in pools)
        return [
            *(ModelEntry(name, created, "pool") for name, created in sorted(pools.items())),
            *(ModelEntry(name, created, "llm") for name, created in others),
        ]
