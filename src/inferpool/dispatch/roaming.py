"""Sessions that move between servers, or speak to one while another serves them (spec section 4).

Any server takes the events of a session's current epoch: it then holds a `guest`, which has no channel, gets no tasks. A channel
may bind at another server than the one that registered the session: whoever sees that it moved forgets it.
"""

import asyncio

from inferpool.core.errors import SessionReplaced
from inferpool.core.ids import ServerId, SessionId
from inferpool.dispatch.credentials import Credentials, check_visitor
from inferpool.dispatch.live import LiveSession
from inferpool.dispatch.losses import Losses
from inferpool.dispatch.scheduler import Scheduler
from inferpool.dispatch.shared import Shared
from inferpool.store.servers_protocol import SessionStanding


class Roaming:
    """What this server knows of sessions that others serve, or took over."""

    def __init__(self, shared: Shared, scheduler: Scheduler, losses: Losses) -> None:
        self._reader = shared.reader
        self._catalog = shared.catalog
        self._server_id = shared.server_id
        self._alone = shared.bus.alone
        self._background = shared.background
        self._scheduler = scheduler
        self._losses = losses
        self._rechecked: dict[SessionId, None] = {}
        self._rechecking = False

    async def guest(self, who: Credentials) -> LiveSession:
        """The session of another server that speaks to this one. Raises as `check_visitor`."""
        standing = await self._standing(who)
        guest = self._catalog.guests.get(who.session_id)
        if guest is None or guest.epoch != standing.epoch:
            made = await self._made(standing)
            guest = self._catalog.guests.get(who.session_id)
            if guest is None or guest.epoch < made.epoch:  # no other request made it meanwhile
                self.forget(who.session_id)
                guest = self._catalog.guests[who.session_id] = made
            elif guest.epoch > made.epoch:
                raise SessionReplaced("a newer registration of this session came in between", guest.epoch)
        guest.served_by = standing.server_id
        return guest

    def forget(self, session_id: SessionId, successor: LiveSession | None = None) -> None:
        """The guest, if there is one, does not speak here any more: it registered, or its channel is here, or it fell silent."""
        guest = self._catalog.guests.pop(session_id, None)
        if guest is not None:
            self._losses.release(guest, successor)

    async def newcomer(self, who: Credentials) -> LiveSession:
        """The session of another server that wants its channel here; not known to anybody yet. Raises as `check_visitor`."""
        return await self._made(await self._standing(who))

    def welcome(self, session: LiveSession) -> None:
        """The newcomer's channel is bound here: this server serves it now."""
        self.forget(session.id)
        self._catalog.sessions[session.id] = session
        self._catalog.publish(session.llms.values(), session.id)

    async def _standing(self, who: Credentials) -> SessionStanding:
        found = [] if self._alone else await self._reader.session_standings([who.session_id])
        return check_visitor(who, found[0] if found else None, self._server_id)

    async def _made(self, standing: SessionStanding) -> LiveSession:
        session = LiveSession(standing.session_id, standing.epoch, standing.secret_hash, _now())
        session.subject = standing.subject
        session.leaving = standing.leaving
        session.publish(await self._reader.llms_of(standing.session_id))
        return session

    # ---- what other servers did ----------------------------------------------------------------------------------

    def changed(self, session_ids: list[SessionId]) -> None:
        """Another server changed these sessions in the rows; one look for all that are told of while it lasts."""
        self._rechecked.update(dict.fromkeys(session_ids))
        if not self._rechecking:
            self._rechecking = True
            self._background.spawn(self._recheck(), "look at changed sessions")

    async def _recheck(self) -> None:
        try:
            while self._rechecked:
                session_ids, self._rechecked = list(self._rechecked), {}
                mine = await self.recheck(session_ids)
                for session in mine:
                    await self._republish(session)
                if len(mine) < len(session_ids):
                    await self._catalog.recall(self._reader)
        finally:
            self._rechecking = False

    async def recheck(self, session_ids: list[SessionId]) -> list[LiveSession]:
        """Hold what is known of these sessions against their rows; gives those that are still served here."""
        known = {one: self._catalog.sessions[one] for one in session_ids if one in self._catalog.sessions}
        if not known:
            return []
        found = {one.session_id: one for one in await self._reader.session_standings(list(known))}
        return [session for session in known.values() if await self._still_mine(session, found.get(session.id))]

    async def _still_mine(self, session: LiveSession, standing: SessionStanding | None) -> bool:
        if self._catalog.sessions.get(session.id) is not session or session.paused:
            return False  # a registration came in between, or is under way: it knows better
        if standing is None or not standing.active:
            self._losses.forget(session)
            return False
        if standing.server_id != self._server_id:
            self._losses.let_go(session)
            return False
        if standing.leaving and not session.leaving:
            await self._losses.leave(session)
        return True

    async def _republish(self, session: LiveSession) -> None:
        """Another server took what the worker says of its llms."""
        before = dict(session.revisions)
        llms = await self._reader.llms_of(session.id)
        if session.gone or session.leaving or session.revisions != before:
            return
        session.publish([llm for llm in llms if llm.name in session.llms])
        self._catalog.publish(session.llms.values(), session.id)
        self._scheduler.kick_session(session)

    def forget_guests(self, silent_s: float) -> None:
        """Guests that did not speak here for so long are forgotten, as are those that this server serves by now."""
        for guest in list(self._catalog.guests.values()):
            serving = self._catalog.sessions.get(guest.id)
            if serving is not None or _now() - guest.heard_at > silent_s:
                self.forget(guest.id, serving)


def host_of(guest: LiveSession) -> ServerId:
    """The server that serves the guest."""
    if guest.served_by is None:
        raise RuntimeError("a session that is served here is no guest")
    return guest.served_by


def _now() -> float:
    return asyncio.get_running_loop().time()
