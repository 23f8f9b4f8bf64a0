"""The llms that are known, with the sessions that serve them now."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from inferpool.core.access import NO_LIMITS, Limits
from inferpool.core.clock import Clock, Micros
from inferpool.core.ids import SessionId, TaskId
from inferpool.core.lanes import LaneScope, parse_lane
from inferpool.core.llm import Llm, LlmStatus
from inferpool.dispatch.live import LiveSession, lanes_of
from inferpool.dispatch.naming import Naming
from inferpool.dispatch.published import Published
from inferpool.dispatch.serving import Serving
from inferpool.dispatch.slots import Held
from inferpool.store.protocol import StoreReader

_PAGE: Final = 1000


class ModelEntry(msgspec.Struct, frozen=True):
    """A name that `/v1/models` shows. `kind` is `pool` or `llm`."""

    name: str
    created_at: Micros
    kind: str


class Catalog:
    """What every answer about llms, pools, models tells, and every call is judged by: one memory, so that they agree.

    What an answer shows as active can be called by then.
    """

    def __init__(self, clock: Clock, *, shared: bool = False) -> None:
        """`shared`: other servers have sessions too, known by their rows."""
        self._clock = clock
        self._shared = shared
        self._published = Published()
        self.naming = Naming(self._published)
        self._serving = Serving()
        self.sessions: dict[SessionId, LiveSession] = {}
        """Sessions registered here, until their leave or loss."""
        self.guests: dict[SessionId, LiveSession] = {}
        """Sessions that speak to this server while another serves them."""

    async def recall(self, reader: StoreReader) -> set[SessionId]:
        """Read the names back: at a start, or when a sweep deleted some.

        What changed here while the rows were read is newer than they are. Gives the sessions of this server of whose llms
        the rows say something else: their workers told it to another one.
        """
        odd: set[SessionId] = set()
        before = dict(self._published.by_name)
        rows: list[Llm] = []
        while page := await reader.llms(rows[-1].name if rows else None, _PAGE):
            rows.extend(page)
        clocks = await reader.clocks()
        read = {llm.name: llm for llm in rows}
        now = self._published.by_name
        still = [name for name in {*before, *read} if now.get(name) is before.get(name)]
        for name in still:
            if name not in read:
                self._published.remove(name)
            elif (session_id := read[name].session_id) not in self.sessions:
                self._published.put(read[name])
            elif name in now and (now[name].status, now[name].slots) != (read[name].status, read[name].slots):
                odd.add(session_id)
        self.know(lane for lane, _ in clocks)
        return odd

    def know(self, lanes: Iterable[str]) -> None:
        """Take calls for these lanes too: something waits there, or did."""
        self._published.lanes.update(lanes)

    def publish(self, llms: Iterable[Llm], session_id: SessionId) -> None:
        """Take the llms of a session as they are now; those it no longer publishes stay known, inactive."""
        session = self.sessions.get(session_id)
        if session is None or session.leaving:
            return
        now = list(llms)
        self._published.quiet(session_id, self._clock.now_us(), {llm.name for llm in now})
        for llm in now:
            self._published.put(llm)
        self._serving.put(session, now)

    def deactivate(self, session_id: SessionId) -> None:
        """A session leaves, or is gone: its llms stay known, inactive."""
        self._published.quiet(session_id, self._clock.now_us())
        self._serving.withdraw(session_id)

    def let_go(self, session_id: SessionId) -> None:
        """Another server serves the session now, with its llms."""
        self._serving.withdraw(session_id)

    def held(self, session_id: SessionId | None, task_id: TaskId, attempt: int) -> tuple[LiveSession, Held] | None:
        """The attempt with its session, where a session of this server has it."""
        session = self.sessions.get(session_id) if session_id else None
        held = session.held.get((task_id, attempt)) if session else None
        return None if session is None or held is None else (session, held)

    def llms(self, after: str, limit: int, limits: Limits = NO_LIMITS) -> list[Llm]:
        """The next llms by name, live or not, that lie within the limits."""
        return self._published.page(after, limit, limits)

    def llm(self, name: str) -> Llm | None:
        """One by its name, live or not."""
        return self._published.by_name.get(name)

    def serving(self, lane: str, endpoint: str | None = None) -> Iterator[tuple[LiveSession, Llm]]:
        """Live sessions with their llms that may take from the lane, busy ones too."""
        for session, llm in self._serving.of(lane):
            if not (session.leaving or session.gone) and (endpoint is None or llm.serves(endpoint)):
                yield session, llm

    def slots(self, lane: str) -> int:
        """Slots, busy ones too, that may take from the lane; llms of one engine share theirs."""
        engines = {(session.id, llm.engine): llm.slots for session, llm in self.serving(lane)}
        return sum(engines.values())

    def slots_elsewhere(self, lane: str) -> int:
        """Slots, busy ones too, that sessions of other servers have for the lane."""
        if not self._shared:
            return 0
        scope, name = parse_lane(lane)
        members = self._published.pools.get(name, {}) if scope is LaneScope.POOL else self._published.by_name
        engines = {
            (llm.session_id, llm.engine): llm.slots
            for llm in members.values()
            if llm.status is LlmStatus.ACTIVE and llm.session_id not in self.sessions and lane in lanes_of(llm)
        }
        return sum(engines.values())

    @property
    def pools(self) -> Mapping[str, Mapping[str, Llm]]:
        """The known llms, live or not, under the names of their effective pools."""
        return self._published.pools

    def lanes(self) -> list[str]:
        """Every lane that a live session serves."""
        return self._serving.lanes()

    def models(self, limits: Limits = NO_LIMITS) -> list[ModelEntry]:
        """Pools by name, then the other llms; those without a live llm, or outside the limits, are left out."""
        active = [llm for llm in self._published.by_name.values() if llm.status is not LlmStatus.INACTIVE]
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
