"""The end of sessions: a leave, a grace that is over, a server that died, a sweep."""

from inferpool.core.errors import StoreUnavailable
from inferpool.core.ids import SessionId
from inferpool.core.session import Session
from inferpool.dispatch.live import LiveSession
from inferpool.dispatch.moves import Moves
from inferpool.dispatch.shared import Shared
from inferpool.store.protocol import SessionLoss


class Losses:
    """Takes sessions out of service; what they held goes to others."""

    def __init__(self, shared: Shared, moves: Moves) -> None:
        self._store = shared.store
        self._reader = shared.reader
        self._catalog = shared.catalog
        self._log = shared.log
        self._server_id = shared.server_id
        self._moves = moves
        self.orphans: dict[SessionId, Session] = {}
        """Sessions of a dead server that have not registered here yet: they have the grace to do so."""

    async def find_orphans(self) -> None:
        """Sessions that were active when their server died may come back within the grace."""
        before = None
        while page := await self._reader.sessions(before, 1000):
            for session in page:
                if session.active and session.server_id != self._server_id:
                    self.orphans[session.id] = session
            before = page[-1].id

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
            tell, event = (self._log.info, "session left") if session.leaving else (self._log.warning, "session lost")
            tell(event, session_id=session.id, epoch=session.epoch, reverted=len(moved))

    def forget(self, session: LiveSession) -> None:
        """The session is inactive in the store: nothing of it counts here any more."""
        session.retire()
        if self._catalog.sessions.get(session.id) is session:
            del self._catalog.sessions[session.id]
            self._catalog.deactivate(session.id)

    async def end_leave(self, session: LiveSession) -> None:
        """The channel of a leaving session closed: no grace, no try."""
        try:
            await self.lose(session, counts=False)
        except StoreUnavailable as error:  # the poll finds it without a channel and tries again
            self._log.warning("leave not ended yet", session_id=session.id, code=error.code.value)

    async def lose_orphan(self, orphan: Session) -> None:
        """A session of a dead server did not come back within the grace: a restart costs no try."""
        moved = await self._store.deactivate(
            SessionLoss(
                session_id=orphan.id,
                epoch=orphan.epoch,
                server_id=orphan.server_id,
                silent_for=0,
                counts=False,
                unwritten=[],
            )
        )
        self.orphans.pop(orphan.id, None)
        if moved is not None:
            self._catalog.deactivate(orphan.id)
            self._moves.apply(moved)

    async def reconcile(self) -> None:
        """Forget sessions that a sweep (of this server or another) found silent: their workers register again."""
        for session in list(self._catalog.sessions.values()):
            row = await self._reader.session(session.id)
            if row is None or not row.active:
                self.forget(session)
