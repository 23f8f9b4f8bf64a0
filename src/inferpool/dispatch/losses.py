"""The end of sessions: a leave, a grace that is over, a server that died, a sweep."""

import asyncio
from typing import Final

from inferpool.core.errors import StoreUnavailable
from inferpool.core.failpoints import reach
from inferpool.core.ids import SessionId
from inferpool.dispatch.live import LiveSession
from inferpool.dispatch.moves import Moves
from inferpool.dispatch.shared import Shared
from inferpool.dispatch.slots import HeldState
from inferpool.store.protocol import SessionLoss
from inferpool.store.servers_protocol import Orphan

_ORPHANS: Final = 10_000
"""Sessions of dead servers that one look finds."""


class Losses:
    """Takes sessions out of service; what they held goes to others."""

    def __init__(self, shared: Shared, moves: Moves) -> None:
        self._store = shared.store
        self._reader = shared.reader
        self._catalog = shared.catalog
        self._log = shared.log
        self._server_id = shared.server_id
        self._moves = moves
        self._announcer = shared.announcer
        self._feed = shared.feed
        self.orphans: dict[SessionId, tuple[Orphan, float]] = {}
        """Sessions of dead servers, since when they are known to be: they have the grace to register anywhere."""

    async def find_orphans(self) -> None:
        """Look for sessions whose server is dead; those whose server, or worker, came back are none any more."""
        now = asyncio.get_running_loop().time()
        found = await self._reader.orphans(_ORPHANS)
        before, self.orphans = self.orphans, {}
        for orphan in found:
            if orphan.server_id == self._server_id:
                continue  # our own heartbeat is late: we know better
            known = before.get(orphan.session_id)
            self.orphans[orphan.session_id] = known if known is not None and known[0] == orphan else (orphan, now)

    async def lose_orphans(self, grace_s: float) -> None:
        """Those that did not come back within the grace are lost; whichever server is first takes them."""
        now = asyncio.get_running_loop().time()
        for orphan, since in list(self.orphans.values()):
            if now - since > grace_s:
                await self.lose_orphan(orphan)

    async def lose(self, session: LiveSession, *, counts: bool) -> None:
        """End a session whose grace or leave is over: what it held goes to others."""
        session.paused += 1
        try:
            await session.quiet()
            if session.gone or (session.channel is not None and not session.leaving):
                return
            moved = await self._store.deactivate(
                SessionLoss(
                    session_id=session.id,
                    epoch=session.epoch,
                    server_id=self._server_id,
                    silent_for=0,
                    counts=counts,
                    unwritten=session.unwritten(),
                )
            )
        finally:
            session.paused -= 1
        if moved is not None:
            self.forget(session)
            self._moves.apply(moved)
            self._announcer.sessions([session.id])
            tell, event = (self._log.info, "session left") if session.leaving else (self._log.warning, "session lost")
            tell(event, session_id=session.id, epoch=session.epoch, reverted=len(moved))

    def forget(self, session: LiveSession) -> None:
        """The session is inactive in the store: nothing of it counts here any more."""
        self.release(session)
        if self._catalog.sessions.get(session.id) is session:
            del self._catalog.sessions[session.id]
            self._catalog.deactivate(session.id)

    def let_go(self, session: LiveSession) -> None:
        """Another server serves the session now: its slots, its timers, its channel are forgotten here."""
        self.release(session)
        if self._catalog.sessions.get(session.id) is session:
            del self._catalog.sessions[session.id]
            self._catalog.let_go(session.id)
            self._log.info("session moved to another server", session_id=session.id, epoch=session.epoch)

    def release(self, session: LiveSession, successor: LiveSession | None = None) -> None:
        """Nothing of its attempts comes in here any more: who follows them here hears of them from elsewhere.

        `successor`: who has its place here, perhaps with some of them.
        """
        session.retire()
        kept = set() if successor is None else {(one.strand, one.attempt) for one in successor.held.values()}
        for held in session.held.values():
            if held.state is not HeldState.STOPPING and (held.strand, held.attempt) not in kept:
                self._feed.over(held.strand, held.attempt)

    async def leave(self, session: LiveSession) -> None:
        """Its leave has begun: nothing new goes to it; without a channel it is over."""
        session.leaving = True
        self._catalog.deactivate(session.id)
        if session.channel is None:
            await self.lose(session, counts=False)

    async def end_leave(self, session: LiveSession) -> None:
        """The channel of a leaving session closed: no grace, no try."""
        try:
            await self.lose(session, counts=False)
        except StoreUnavailable as error:  # the poll finds it without a channel and tries again
            self._log.warning("leave not ended yet", session_id=session.id, code=error.code.value)

    async def lose_orphan(self, orphan: Orphan) -> None:
        """A session of a dead server did not come back within the grace: a restart costs no try."""
        reach("rescue.before_store")
        moved = await self._store.deactivate(
            SessionLoss(
                session_id=orphan.session_id,
                epoch=orphan.epoch,
                server_id=orphan.server_id,
                silent_for=0,
                counts=False,
                orphaned=True,
                unwritten=[],
            )
        )
        self.orphans.pop(orphan.session_id, None)
        if moved is not None:
            self._catalog.deactivate(orphan.session_id)
            self._moves.apply(moved)
            self._announcer.sessions([orphan.session_id])
