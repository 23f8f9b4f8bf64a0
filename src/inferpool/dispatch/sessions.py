"""Sessions as they come, bind their channel, leave, get lost."""

import asyncio
from functools import partial

import msgspec

from inferpool.core.access import NO_LIMITS, Limits
from inferpool.core.errors import NotFound, SessionInactive, SessionReplaced, ShuttingDown
from inferpool.core.failpoints import reach
from inferpool.core.ids import ServerId, SessionId, TaskId
from inferpool.core.session import HeldAttempt, Registration
from inferpool.core.task import HeldTask, StoredTask
from inferpool.dispatch.admission import check_limits, check_registration
from inferpool.dispatch.channel import Channel
from inferpool.dispatch.credentials import Credentials, check_hash, check_speaker, hashed
from inferpool.dispatch.live import LiveSession, lanes_of
from inferpool.dispatch.losses import Losses
from inferpool.dispatch.moves import Moves
from inferpool.dispatch.options import DispatchOptions
from inferpool.dispatch.roaming import Roaming
from inferpool.dispatch.scheduler import Scheduler
from inferpool.dispatch.shared import Shared
from inferpool.dispatch.slots import Held, HeldState
from inferpool.dispatch.uplink import Uplink
from inferpool.store.protocol import Registered
from inferpool.wire.sessions import Event, PublishedLlm, RefusedEvent, RegisterReply, RegisterRequest, Resume


class SessionDesk:
    """Every session route ends here."""

    def __init__(self, shared: Shared, scheduler: Scheduler, moves: Moves, losses: Losses, roaming: Roaming) -> None:
        self._shared = shared
        self._scheduler = scheduler
        self._moves = moves
        self._losses = losses
        self._roaming = roaming
        self._uplink = Uplink(shared, scheduler, moves)
        self._sessions = shared.catalog.sessions

    # ---- registering ---------------------------------------------------------------------------------------------

    async def register(
        self, request: RegisterRequest, secret: str | None, subject: str, limits: Limits = NO_LIMITS
    ) -> RegisterReply:
        """Take a worker in under a new epoch: the one way to become, or to be again, an active session.

        Raises `ProtocolUnsupported`, `InvalidRequest`, `Forbidden`, `SessionReplaced`, `NameInUse`.
        """
        check_registration(request, secret)
        check_limits(request, limits)
        made = self._shared.new_secret() if request.session_id is None else None
        session_id = SessionId(request.session_id or self._shared.new_id())
        secret_hash = hashed(made or secret or "")
        old = self._sessions.get(session_id)
        if old is not None:
            self._check_successor(old, secret_hash, request.epoch)
            old.paused += 1
        try:
            if old is not None:
                await old.quiet()
            wish = _registration(request, session_id, secret_hash, subject, self._shared.server_id)
            if old is not None:
                wish = msgspec.structs.replace(wish, unwritten=old.unwritten())
            registered = await self._shared.store.register(wish)
        finally:
            if old is not None:
                old.paused -= 1
                self._refill(old)
        reach("register.after_commit")
        session = self._install(session_id, secret_hash, registered, request)
        session.subject = subject
        self._shared.announcer.sessions([session_id])
        self._shared.log.info(
            "session registered", session_id=session_id, epoch=session.epoch, worker=request.worker.name
        )
        return _reply(session, made, registered, self._shared.options)

    def _check_successor(self, old: LiveSession, secret_hash: str, epoch: int) -> None:
        check_hash(old.secret_hash, secret_hash)
        if epoch <= old.epoch:
            raise SessionReplaced(f"epoch {epoch} is not above {old.epoch}, the newest of this session", old.epoch)

    def _install(
        self, session_id: SessionId, secret_hash: str, registered: Registered, request: RegisterRequest
    ) -> LiveSession:
        """The session as it is from now on; whatever had its place ends."""
        old = self._sessions.get(session_id)
        if old is not None and old.epoch > registered.epoch:
            raise SessionReplaced("a newer registration of this session came in between", old.epoch)
        session = LiveSession(session_id, registered.epoch, secret_hash, self._now())
        session.publish(registered.llms)
        for task in registered.resume:
            self.hold(session, task)
        running = {(TaskId(entry.task_id), entry.attempt) for entry in request.holding if not entry.ended}
        for attempt in registered.drop:
            if (attempt.task_id, attempt.attempt) in running:
                self._hold_dropped(session, attempt, old)
        self._sessions[session_id] = session
        self._roaming.forget(session_id, session)
        self._losses.orphans.pop(session_id, None)
        if old is not None:
            self._losses.release(old, session)
        self._shared.catalog.publish(registered.llms, session_id)
        self._moves.apply(registered.moved)
        return session

    def hold(self, session: LiveSession, task: HeldTask) -> Held:
        """An attempt that the row says is the session's, known to its worker."""
        strand = self._shared.feed.begin(task.task_id, task.attempt)
        held = Held(task.task_id, task.attempt, task.llm_name, session.engine_of(task.llm_name), strand)
        held.state = HeldState.WRITTEN
        session.hold(held)
        return held

    def _hold_dropped(self, session: LiveSession, attempt: HeldAttempt, old: LiveSession | None) -> None:
        """The worker is told to drop it: until it has, its slot is used."""
        known = old.held.get((attempt.task_id, attempt.attempt)) if old else None
        llm_name = known.llm_name if known else next(iter(session.llms), "")
        strand = self._shared.feed.stray(attempt.task_id)
        held = Held(attempt.task_id, attempt.attempt, llm_name, session.engine_of(llm_name), strand)
        held.state, held.why, held.stopping_at = HeldState.STOPPING, "stale", self._now()
        session.hold(held)

    # ---- the channel ---------------------------------------------------------------------------------------------

    async def bind(self, who: Credentials) -> Channel:
        """Open the session's channel: once an epoch. Then it is filled.

        Raises `Forbidden`, `SessionReplaced`, `SessionInactive`, `ShuttingDown`.
        """
        if self._shared.feed.closing is not None:
            raise ShuttingDown("this server is shutting down: a channel opened now would not last")
        session = self._local(who) or await self._roaming.newcomer(who)
        if session.bound:
            raise SessionInactive("this epoch has had its channel; register again for another")
        session.bound = True
        try:
            held = await self._shared.store.bind(session.id, session.epoch, self._shared.server_id)
        except BaseException:  # not bound after all, whatever stopped it
            session.bound = False
            raise
        self._take_over(session)
        self._shared.announcer.sessions([session.id])
        if session.gone:
            raise SessionReplaced("a newer registration of this session came in between", session.epoch + 1)
        if self._shared.feed.closing is not None:
            raise ShuttingDown("this server is shutting down: a channel opened now would outlive it")
        for task in held:
            if (task.task_id, task.attempt) not in session.held:
                self.hold(session, task)
        session.channel = Channel(self._shared.options.ping_s, partial(self._channel_lost, session))
        session.lost_at = None
        session.heard_at = self._now()
        self._send_waiting_cancels(session)
        self._fill(session)
        return session.channel

    def _take_over(self, session: LiveSession) -> None:
        """Another server registered it: from now on this one serves it. Raises `SessionReplaced`."""
        current = self._sessions.get(session.id)
        if current is session or session.gone:
            return
        if current is not None:
            if current.epoch > session.epoch:
                raise SessionReplaced("a newer registration of this session came in between", current.epoch)
            self._losses.let_go(current)
        self._roaming.welcome(session)

    def _send_waiting_cancels(self, session: LiveSession) -> None:
        for held in session.held.values():
            if held.state is HeldState.STOPPING and not held.stopping_at:
                self._scheduler.send_cancel(session, held)

    def _fill(self, session: LiveSession) -> None:
        """The rows decide what waits: every lane that it serves is looked at once."""
        for llm in session.llms.values():
            for lane in lanes_of(llm):
                self._shared.backlog.mark(lane)
        self._scheduler.kick_session(session)

    def _refill(self, session: LiveSession) -> None:
        if session.open:
            self._scheduler.kick_session(session)

    def _channel_lost(self, session: LiveSession, channel: Channel) -> None:
        """The connection broke: the grace begins, unwritten frames go back."""
        if session.channel is not channel:
            return
        session.channel = None
        session.lost_at = self._now()
        self._scheduler.give_back_unwritten(session)
        if session.leaving:
            self._shared.background.spawn(self._losses.end_leave(session), "end of a leave")

    # ---- speaking ------------------------------------------------------------------------------------------------

    def _local(self, who: Credentials) -> LiveSession | None:
        """The session, if this server serves it under that epoch (another server may have seen a newer one).

        Raises `NotFound`, `Forbidden`, `SessionReplaced`.
        """
        session = self._sessions.get(who.session_id)
        if session is None or (who.epoch > session.epoch and not self._shared.bus.alone):
            return None
        check_speaker(who, session.subject, session.secret_hash, session.epoch)
        return session

    async def authenticate(self, who: Credentials) -> LiveSession:
        """The session of this epoch, whichever server serves it.

        Raises `SessionInactive`, `NotFound`, `Forbidden`, `SessionReplaced`.
        """
        return self._local(who) or await self._roaming.guest(who)

    async def take(self, who: Credentials, events: list[Event]) -> list[RefusedEvent]:
        """Take an ordered batch of a worker's events; an empty one is a heartbeat. Returns what was refused."""
        session = await self.authenticate(who)
        session.heard_at = self._now()
        session.heard = True
        return await self._uplink.take(session, events) if events else []

    async def request_body(self, who: Credentials, task_id: TaskId, attempt: int) -> StoredTask:
        """The body of an `infer` frame that was too big for it. Raises `NotFound` when the session does not hold it."""
        session = await self.authenticate(who)
        stored = await self._shared.reader.task(task_id)
        if stored is None or (stored.row.claimed_by, stored.row.attempt) != (session.id, attempt):
            raise NotFound("this session does not hold that attempt")
        return stored

    # ---- leaving -------------------------------------------------------------------------------------------------

    async def leave(self, who: Credentials | SessionId) -> None:
        """Begin the leave (repeatable): no new tasks; it ends when the channel closes.

        A bare id: an operator asks, or the session's owner.
        """
        if isinstance(who, Credentials):
            session_id, epoch = who.session_id, (await self.authenticate(who)).epoch
        else:
            session_id, epoch = who, None
        session = self._sessions.get(session_id)
        if session is None and epoch is None:
            await self._find_active(session_id)
        if session is not None:
            session.leaving = True
            self._shared.catalog.deactivate(session.id)
        await self._shared.store.leave(session_id, epoch if session is None else session.epoch)
        self._shared.announcer.sessions([session_id])
        if session is not None and session.channel is None:
            await self._losses.lose(session, counts=False)

    async def _find_active(self, session_id: SessionId) -> None:
        """Raises `NotFound` where no server serves it."""
        standings = [] if self._shared.bus.alone else await self._shared.reader.session_standings([session_id])
        if not any(one.active for one in standings):
            raise NotFound(f"there is no active session {session_id}")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _registration(
    request: RegisterRequest, session_id: SessionId, secret_hash: str, subject: str, server_id: ServerId
) -> Registration:
    return Registration(
        session_id=session_id,
        secret_hash=secret_hash,
        epoch=request.epoch,
        server_id=server_id,
        subject=subject,
        worker_name=request.worker.name,
        worker_version=request.worker.version,
        labels=request.worker.labels,
        llms=request.llms,
        holding=[HeldAttempt(TaskId(entry.task_id), entry.attempt) for entry in request.holding],
        unwritten=[],
    )


def _reply(session: LiveSession, made: str | None, registered: Registered, options: DispatchOptions) -> RegisterReply:
    return RegisterReply(
        session_id=session.id,
        session_secret=made,
        epoch=session.epoch,
        llms=[PublishedLlm(name=llm.name, pool=llm.pool, status=llm.status) for llm in registered.llms],
        heartbeat_s=options.heartbeat_s,
        grace_s=options.grace_s,
        resume=[
            Resume(task_id=held.task_id, attempt=held.attempt, have_seq=len(held.strand.chunks))
            for held in session.held.values()
            if held.state is HeldState.WRITTEN
        ],
        drop=registered.drop,
    )
