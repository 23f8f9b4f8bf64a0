"""The net under the hints between servers: once a second the rows are asked for what a hint may have failed to tell.

One statement for all that is followed or held here, one for all sessions, one for those of dead servers (design section 7).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from inferpool.core.ids import ServerId, TaskId
from inferpool.core.lifecycle import HELD, TERMINAL, Ending
from inferpool.dispatch.live import LiveSession, lanes_of
from inferpool.dispatch.losses import Losses
from inferpool.dispatch.notes import FlowNews, LaneNews, Tick
from inferpool.dispatch.pools import running_by_pool
from inferpool.dispatch.roaming import Roaming, host_of
from inferpool.dispatch.scheduler import Scheduler
from inferpool.dispatch.shared import Shared
from inferpool.dispatch.slots import Held, HeldState
from inferpool.dispatch.strand import Strand
from inferpool.store.servers_protocol import TaskStanding

GUEST_S: Final = 60.0
"""How long a session of another server is remembered that no longer speaks here."""
RECALL_S: Final = 15.0
"""How often that is read back which nobody may have told of a change of."""
RECOUNT_S: Final = 60.0
FEW: Final = 10_000
"""Pending tasks that are counted anew every `RECOUNT_S`: who told what a moment before or after a count is not known."""
_DONE: Final = frozenset({Ending.COMPLETED, Ending.FAILED, Ending.RETRIED, Ending.RETURNED})
"""Endings that the worker itself told."""


class Net:
    """The duties of a server that is not alone."""

    def __init__(self, shared: Shared, scheduler: Scheduler, losses: Losses, roaming: Roaming) -> None:
        self._shared = shared
        self._reader = shared.reader
        self._catalog = shared.catalog
        self._feed = shared.feed
        self._announcer = shared.announcer
        self._scheduler = scheduler
        self._losses = losses
        self._roaming = roaming
        self._recalled_at = self._counted_at = _now()
        self._missed = False

    def duties(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """What is due once a second; nothing for a server that is alone."""
        if self._shared.bus.alone:
            return []
        return [self.servers, self.tick, self.tasks, self.sessions, self.orphans, self.recall]

    def missed(self) -> None:
        """The bus is linked, perhaps again: hints may have been lost, so everything is looked at anew."""
        self._missed = True

    async def servers(self) -> None:
        """Who else is alive. Who just died may have told nothing of the last moment: what waits is counted anew."""
        others = [one for one in await self._reader.servers() if one != self._shared.server_id]
        gone = self._shared.peers.present(others, _now())
        if gone or self._missed:
            self._missed = False
            self._recalled_at = 0.0
            await self._recount()
        elif self._shared.backlog.counts.tasks <= FEW and _now() - self._counted_at > RECOUNT_S:
            await self._recount()

    async def _recount(self) -> None:
        """A count of many tasks is dear; a small one is put right by itself once in a while."""
        self._counted_at = _now()
        self._shared.backlog.counts.recount(await self._reader.pending_counts())

    # ---- what is told --------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Tell the others how this server stands, which sessions of theirs it heard."""
        self._tell_heard()
        self._announcer.tell(self._tick())

    def _tell_heard(self) -> None:
        self._roaming.forget_guests(GUEST_S)
        heard: dict[ServerId, list[LiveSession]] = {}
        for guest in self._catalog.guests.values():
            if _now() - guest.heard_at <= self._shared.options.silence_s / 2:
                heard.setdefault(host_of(guest), []).append(guest)
        for server_id, guests in heard.items():
            self._announcer.heard(server_id, [guest.id for guest in guests])

    def _tick(self) -> Tick:
        shared = self._shared
        changes = shared.backlog.counts.changes()
        clocks = shared.backlog.risen_clocks()
        free = self._free()
        paces = shared.pace.means()
        lanes = [
            LaneNews(lane, clocks.get(lane, 0.0), *changes.get(lane, (0, 0)), paces.get(lane, 0.0), free.get(lane, 0))
            for lane in {**changes, **clocks, **free}
        ]
        flows = [FlowNews(*added) for added in shared.backlog.ranker.added_here()]
        return Tick(lanes, flows, dict(running_by_pool(self._catalog)))

    def _free(self) -> dict[str, int]:
        free: dict[str, int] = {}
        for session in self._catalog.sessions.values():
            if session.open:
                for engine in session.engines.values():
                    for lane in {lane for llm in engine.llms for lane in lanes_of(llm)}:
                        free[lane] = free.get(lane, 0) + max(0, engine.free)
        return free

    # ---- what is looked for --------------------------------------------------------------------------------------

    async def tasks(self) -> None:
        """Ends, claims, losses that nobody told of."""
        followed = self._feed.followed_elsewhere()
        held = [
            (session, one)
            for session in (*self._catalog.sessions.values(), *self._catalog.guests.values())
            for one in session.held.values()
            if one.state is HeldState.WRITTEN
        ]
        asked = {strand.task_id: None for strand in followed} | {one.task_id: None for _, one in held}
        if not asked:
            return
        found = {one.task_id: one for one in await self._reader.standings(list(asked))}
        for strand in followed:
            await self._look(strand, found.get(strand.task_id))
        lost = [(session, one) for session, one in held if not _stands(session, one, found.get(one.task_id))]
        if lost:
            await self._free_lost(lost)

    async def _look(self, strand: Strand, standing: TaskStanding | None) -> None:
        if standing is None or standing.status in TERMINAL:
            await self._feed.settle(strand.task_id)
        elif strand.streamed and standing.server_id not in {None, self._shared.server_id} and not strand.here:
            self._announcer.watch(strand, standing.server_id)

    async def _free_lost(self, lost: list[tuple[LiveSession, Held]]) -> None:
        """Attempts that the rows no longer give to these sessions: what the worker did not end itself must stop."""
        keys: list[tuple[TaskId, int]] = [(one.task_id, one.attempt) for _, one in lost]
        endings = {(one.task_id, one.attempt): one.ending for one in await self._reader.endings(keys)}
        for session, one in lost:
            ending = endings.get((one.task_id, one.attempt))
            if ending in _DONE or session.served_by is not None:
                self._scheduler.free(session, one)
            elif one.state is HeldState.WRITTEN:
                why = "cancelled" if ending is Ending.CANCELLED else "stale"
                self._scheduler.stop(session, one, why)
            self._feed.over(one.strand, one.attempt)
            await self._feed.settle(one.task_id)

    async def sessions(self) -> None:
        """Sessions that moved to another server, left by way of it, or that its sweep took."""
        await self._roaming.recheck(list(self._catalog.sessions))

    async def orphans(self) -> None:
        """Sessions of servers that died: whoever finds them rescues what they held, after their grace."""
        await self._losses.find_orphans()

    async def recall(self) -> None:
        """The llms that other servers know; tasks that were followed elsewhere until another server ended them."""
        if _now() - self._recalled_at <= RECALL_S:
            return
        self._recalled_at = _now()
        self._roaming.changed(list(await self._catalog.recall(self._reader)))
        interest = self._announcer.interest
        asked = interest.oldest()
        standings = await self._reader.standings(asked) if asked else []
        living = {one.task_id for one in standings if one.status not in TERMINAL}
        for task_id in asked:
            if task_id not in living:
                interest.forget(task_id)


def _stands(session: LiveSession, held: Held, standing: TaskStanding | None) -> bool:
    return (
        standing is not None
        and standing.status in HELD
        and standing.attempt == held.attempt
        and standing.session_id == session.id
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
