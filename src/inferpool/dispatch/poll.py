"""The one-second poll: what must be prompt, the net under every wakeup.

Nothing here is needed while all goes well. A lost wakeup, a back-off that is over, a worker gone silent: each is found
here, a second late at most.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from inferpool.core.errors import Code, InferpoolError
from inferpool.dispatch.background import Log
from inferpool.dispatch.live import LiveSession
from inferpool.dispatch.losses import Losses
from inferpool.dispatch.moves import Moves
from inferpool.dispatch.scheduler import Scheduler
from inferpool.dispatch.shared import Shared
from inferpool.dispatch.slots import Held, HeldState
from inferpool.dispatch.steps import repeat
from inferpool.store.protocol import Moved

_SHARE: Final = 0.25
"""The part of a poll's interval that each kind of rows may take."""


class Poll:
    """One loop, one tick a second; `more` are duties of others that are due as often."""

    def __init__(
        self,
        shared: Shared,
        scheduler: Scheduler,
        moves: Moves,
        losses: Losses,
        more: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._shared = shared
        self._scheduler = scheduler
        self._moves = moves
        self._losses = losses
        self._duties = (self._rows, self._graces, self._slots, self._clocks, *more)
        self._started_at = 0.0

    async def run(self) -> None:
        """Tick until cancelled; a failing duty is logged, the others go on."""
        self._started_at = _now()
        while True:
            await self.tick()
            due = _now() + self._shared.options.poll_s
            await asyncio.sleep(self._shared.options.poll_s)
            self._shared.tally.lag.observe(_now() - due)

    async def tick(self) -> None:
        """All prompt duties once."""
        for duty in self._duties:
            await _guard(duty, self._shared.log)

    async def _rows(self) -> None:
        shared = self._shared
        duties = [self._make_ready]
        if _now() - self._started_at > shared.options.grace_s:
            # Right after a start, answers that finished meanwhile are still on their way here.
            duties += [self._end_overdue, self._expire, self._end_unserved]
        for duty in duties:
            await repeat(duty, shared.options.sweep_limit, _SHARE * shared.options.poll_s)
        lanes = shared.catalog.lanes()
        if lanes:
            self._moves.waiting(await shared.reader.waiting_lanes(lanes))

    async def _make_ready(self) -> int:
        moved = await self._shared.store.make_ready(self._shared.options.sweep_limit)
        self._moves.ready(moved)
        return len(moved)

    async def _end_overdue(self) -> int:
        return self._apply(await self._shared.store.end_overdue(self._shared.options.sweep_limit), Code.ENGINE_TIMEOUT)

    async def _expire(self) -> int:
        return self._apply(await self._shared.store.expire(self._shared.options.sweep_limit), Code.EXPIRED)

    async def _end_unserved(self) -> int:
        return self._apply(
            await self._shared.store.end_unserved(self._shared.options.sweep_limit), Code.LLM_UNAVAILABLE
        )

    def _apply(self, moved: list[Moved], why: Code) -> int:
        self._moves.apply(moved, why)
        return len(moved)

    async def _graces(self) -> None:
        """Channels gone silent, sessions past their grace, sessions of a dead server that did not come back."""
        options = self._shared.options
        now = _now()
        for session in list(self._shared.catalog.sessions.values()):
            if session.channel is not None and now - session.heard_at > options.silence_s:
                session.channel.lost()
            if session.lost_at is not None and now - session.lost_at > options.grace_s:
                await self._losses.lose(session, counts=not session.leaving)
        await self._losses.lose_orphans(options.grace_s)

    async def _slots(self) -> None:
        """Slots whose worker never said `stopped` to its cancel."""
        now = _now()
        for session in list(self._shared.catalog.sessions.values()):
            for held in list(session.held.values()):
                if self._is_overdue(held, now):
                    self._scheduler.free(session, held)

    def _is_overdue(self, held: Held, now: float) -> bool:
        since = held.stopping_at
        return held.state is HeldState.STOPPING and since > 0 and now - since > self._shared.options.slot_release_s

    async def _clocks(self) -> None:
        clocks = self._shared.backlog.rising_clocks()
        if clocks:
            await self._shared.store.write_clocks(clocks)


class Heartbeat:
    """Writes that this server, with the sessions that it heard, is alive."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await _guard(self.beat, self._shared.log)
            await asyncio.sleep(self._shared.options.beat_s)

    async def beat(self) -> None:
        """One heartbeat."""
        catalog = self._shared.catalog
        speaking: list[LiveSession] = [*catalog.sessions.values(), *catalog.guests.values()]
        heard = [session for session in speaking if session.heard]
        for session in heard:
            session.heard = False
        await self._shared.store.beat(self._shared.server_id, [session.id for session in heard])


async def _guard(duty: Callable[[], Awaitable[None]], log: Log) -> None:
    try:
        await duty()
    except InferpoolError as error:  # a full disk, say: the next tick tries again
        log.warning("poll duty failed", duty=duty.__name__, code=error.code.value, message=error.message)


def _now() -> float:
    return asyncio.get_running_loop().time()
