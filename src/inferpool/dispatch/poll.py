"""The one-second poll: what must be prompt, the net under every wakeup.

Nothing here is needed while all goes well. A lost wakeup, a back-off that is over, a worker gone silent: each is found
here, a second late at most.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from inferpool.core.errors import InferpoolError
from inferpool.dispatch.background import Log
from inferpool.dispatch.backlog import Backlog
from inferpool.dispatch.catalog import Catalog
from inferpool.dispatch.live import LiveSession
from inferpool.dispatch.losses import Losses
from inferpool.dispatch.moves import Moves
from inferpool.dispatch.options import DispatchOptions
from inferpool.dispatch.scheduler import Scheduler
from inferpool.dispatch.slots import Held, HeldState
from inferpool.store.protocol import Store, StoreReader


class PollParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the poll works with."""

    store: Store
    reader: StoreReader
    catalog: Catalog
    backlog: Backlog
    scheduler: Scheduler
    moves: Moves
    losses: Losses
    options: DispatchOptions
    log: Log


class Poll:
    """One loop, one tick a second."""

    def __init__(self, parts: PollParts) -> None:
        self._parts = parts
        self._started_at = 0.0

    async def run(self) -> None:
        """Tick until cancelled; a failing duty is logged, the others go on."""
        self._started_at = _now()
        while True:
            await self.tick()
            await asyncio.sleep(self._parts.options.poll_s)

    async def tick(self) -> None:
        """All prompt duties once."""
        for duty in (self._rows, self._graces, self._slots, self._clocks):
            await _guard(duty, self._parts.log)

    async def _rows(self) -> None:
        parts = self._parts
        limit = parts.options.sweep_limit
        parts.moves.ready(await parts.store.make_ready(limit))
        if _now() - self._started_at > parts.options.grace_s:
            # Right after a start, answers that finished meanwhile are still on their way here.
            parts.moves.apply(await parts.store.end_overdue(limit))
            parts.moves.apply(await parts.store.expire(limit))
            parts.moves.apply(await parts.store.end_unserved(limit))
        lanes = parts.catalog.lanes()
        if lanes:
            parts.moves.waiting(await parts.reader.waiting_lanes(lanes))

    async def _graces(self) -> None:
        """Channels gone silent, sessions past their grace, sessions of a dead server that did not come back."""
        options = self._parts.options
        now = _now()
        for session in list(self._parts.catalog.sessions.values()):
            if session.channel is not None and now - session.heard_at > options.silence_s:
                session.channel.lost()
            if session.lost_at is not None and now - session.lost_at > options.grace_s:
                await self._parts.losses.lose(session, counts=not session.leaving)
        if now - self._started_at > options.grace_s:
            for orphan in list(self._parts.losses.orphans.values()):
                await self._parts.losses.lose_orphan(orphan)

    async def _slots(self) -> None:
        """Slots whose worker never said `stopped` to its cancel."""
        now = _now()
        for session in list(self._parts.catalog.sessions.values()):
            for held in list(session.held.values()):
                if self._is_overdue(held, now):
                    self._parts.scheduler.free(session, held)

    def _is_overdue(self, held: Held, now: float) -> bool:
        since = held.stopping_at
        return held.state is HeldState.STOPPING and since > 0 and now - since > self._parts.options.slot_release_s

    async def _clocks(self) -> None:
        clocks = self._parts.backlog.ranker.dirty_clocks()
        if clocks:
            await self._parts.store.write_clocks(clocks)


class Heartbeat:
    """Writes that this server, with the sessions that it heard, is alive."""

    def __init__(self, parts: PollParts) -> None:
        self._parts = parts

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await _guard(self.beat, self._parts.log)
            await asyncio.sleep(self._parts.options.beat_s)

    async def beat(self) -> None:
        """One heartbeat."""
        heard: list[LiveSession] = [session for session in self._parts.catalog.sessions.values() if session.heard]
        for session in heard:
            session.heard = False
        await self._parts.store.beat(self._parts.scheduler.server_id, [session.id for session in heard])


async def _guard(duty: Callable[[], Awaitable[None]], log: Log) -> None:
    try:
        await duty()
    except InferpoolError as error:  # a full disk, say: the next tick tries again
        log.warning("poll duty failed", duty=duty.__name__, code=error.code.value, message=error.message)


def _now() -> float:
    return asyncio.get_running_loop().time()
