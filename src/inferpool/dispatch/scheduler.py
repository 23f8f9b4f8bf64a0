"""Who gets what: tasks to free slots, at once where one is free, in turn where many wait."""

import asyncio
from functools import partial

from inferpool.core.failpoints import reach
from inferpool.core.ids import BatchId, TaskId
from inferpool.core.llm import Llm, LlmStatus
from inferpool.core.task import ClaimedTask
from inferpool.dispatch.frames import cancel_frame, infer_frame
from inferpool.dispatch.live import LiveSession, lanes_of
from inferpool.dispatch.shared import Shared
from inferpool.dispatch.slots import Engine, Held, HeldState
from inferpool.store.protocol import Claim, LanesWant, Settlement, Spoken


class Scheduler:
    """Claims for the sessions of this server, hands the frames over, takes slots back."""

    def __init__(self, shared: Shared) -> None:
        self._store = shared.store
        self._catalog = shared.catalog
        self._backlog = shared.backlog
        self._feed = shared.feed
        self._options = shared.options
        self._new_id = shared.new_id
        self._server_id = shared.server_id
        self._clock = shared.clock
        self._tally = shared.tally
        self._announcer = shared.announcer
        self._dirty: dict[tuple[str, str], tuple[LiveSession, Engine]] = {}
        self._wakeup: asyncio.Event = asyncio.Event()

    # ---- a slot at once ------------------------------------------------------------------------------------------

    def slot_for(self, lane: str, endpoint: str) -> tuple[LiveSession, Llm] | None:
        """The emptiest free slot for a new task, where nobody waits before it; None when it has to queue."""
        best: tuple[LiveSession, Llm] | None = None
        most = 0
        nobody = self._backlog.drained_everywhere
        for session, llm in self._catalog.serving(lane, endpoint):
            engine = session.engines[llm.engine]
            free = engine.free
            able = session.open and llm.status is LlmStatus.ACTIVE
            if (
                able
                and free > most
                and (nobody or not any(engine.seeks(one, self._backlog.mark_of(one)) for one in lanes_of(llm)))
            ):
                best, most = (session, llm), free
        return None if self._feed.size > self._options.feed_bytes else best

    def dispatch(self, session: LiveSession, task: ClaimedTask) -> None:
        """A claim that is durable goes to its worker."""
        strand = self._feed.begin(task.task_id, task.attempt)
        self._tally.claim(task.task_id, self._clock.now_us())
        held = Held(task.task_id, task.attempt, task.llm_name, session.engine_of(task.llm_name), strand)
        held.flow = (task.lane, task.owner, task.priority)
        held.since = self._feed.loop.time()
        session.hold(held)
        if session.channel is None or session.gone:
            self._give_back(session, held)
            return
        session.channel.push(infer_frame(session.id, task, self._options.run_limit), held)

    # ---- filling -------------------------------------------------------------------------------------------------

    def call(self, lane: str, watched: TaskId | None = None) -> None:
        """A task came into the lane: whoever serves it, here or elsewhere, may have room. `watched`: who waits for it is here."""
        self.kick(lane)
        self._announcer.waiting(lane, watched)

    def kick(self, lane: str) -> None:
        """The lane has something to claim: whoever serves it may have room."""
        for session, llm in self._catalog.serving(lane):
            self._want(session, session.engines[llm.engine])

    def kick_session(self, session: LiveSession) -> None:
        """The session has room, perhaps: at its bind, when a slot became free."""
        for engine in session.engines.values():
            self._want(session, engine)

    def _want(self, session: LiveSession, engine: Engine) -> None:
        """The engine may have room: it is looked at in the next round, if there is anything to claim at all."""
        if self._backlog.drained_everywhere:
            return  # whoever marks a lane asks again
        if session.open and engine.free > 0 and not engine.claiming:
            self._dirty[session.id, engine.name] = (session, engine)
            self._wakeup.set()

    async def run(self) -> None:
        """Claim for all that have room, all in one commit, again as soon as there is more: until cancelled."""
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            dirty, self._dirty = self._dirty, {}
            for session, engine in dirty.values():
                self._claim(session, engine)

    def _claim(self, session: LiveSession, engine: Engine) -> None:
        free = engine.free
        lanes = self._wanted(engine)
        if not (session.open and free > 0 and lanes) or engine.claiming or self._feed.size > self._options.feed_bytes:
            return
        engine.claiming = True
        session.reserve(engine, free)
        claim = Claim(
            session_id=session.id,
            epoch=session.epoch,
            server_id=self._server_id,
            batch=BatchId(self._new_id()),
            free=free,
            lanes=lanes,
            run_limit=self._options.run_limit,
            turns=engine.turns,
        )
        marks = {want.lane: self._backlog.mark_of(want.lane) for want in lanes}
        reach("claim.before_store")
        future = self._store.claim(claim)
        future.add_done_callback(partial(self._claimed, session, engine, free, marks))

    def _wanted(self, engine: Engine) -> list[LanesWant]:
        """The marked lanes of the engine's active llms: those that may hold something."""
        return [
            LanesWant(lane=lane, llm_name=llm.name, endpoints=llm.endpoints)
            for llm in engine.llms
            if llm.status is LlmStatus.ACTIVE
            for lane in lanes_of(llm)
            if engine.seeks(lane, self._backlog.mark_of(lane))
        ]

    def _claimed(
        self,
        session: LiveSession,
        engine: Engine,
        free: int,
        marks: dict[str, int],
        future: "asyncio.Future[list[ClaimedTask]]",
    ) -> None:
        engine.claiming = False
        failed = future.cancelled() or future.exception() is not None
        tasks = [] if failed else future.result()
        self._backlog.claimed(tasks)
        for task in tasks:
            self.dispatch(session, task)
        session.release(engine, free)
        if failed:
            return  # the lanes keep their marks: the poll tries again
        if len(tasks) < free and session.open:
            self._note_empty(engine, marks)
        self._want(session, engine)

    def _note_empty(self, engine: Engine, marks: dict[str, int]) -> None:
        """A claim found no more in these lanes. Who serves a few endpoints alone saw no more than his own tasks."""
        narrow = {lane for llm in engine.llms if llm.endpoints is not None for lane in lanes_of(llm)}
        for lane, mark in marks.items():
            if lane in narrow and self._backlog.pending(lane):
                engine.looked[lane] = mark
            else:
                self._backlog.drained(lane, mark)

    # ---- slots -------------------------------------------------------------------------------------------------

    def free(self, session: LiveSession, held: Held) -> None:
        """The attempt's slot is free: the session takes its next.

        A registration that came in between found the attempt held in the rows, so the session holds it there too: its
        worker, once told that the end is taken, never speaks of it again.
        """
        self._free(session, held)
        newest = self._catalog.sessions.get(session.id)
        if newest is not None and newest is not session:
            taken_over = newest.held.get((held.task_id, held.attempt))
            if taken_over is not None:
                self._free(newest, taken_over)

    def _free(self, session: LiveSession, held: Held) -> None:
        if session.free(held):
            self._want(session, held.engine)

    def stop(self, session: LiveSession, held: Held, why: str) -> None:
        """Whatever ended the attempt, it was not its worker: the engine must stop (law 5)."""
        if held.state is HeldState.UNWRITTEN:
            self.free(session, held)
        elif held.state is HeldState.WRITTEN:
            held.state = HeldState.STOPPING
            held.why = why
            self.send_cancel(session, held)

    def send_cancel(self, session: LiveSession, held: Held) -> None:
        """The cancel frame; without a channel it waits for the next bind."""
        if session.channel is not None:
            held.stopping_at = self._feed.loop.time()
            session.channel.push(cancel_frame(held.task_id, held.attempt))

    def give_back_unwritten(self, session: LiveSession) -> None:
        """The channel broke: what it had not taken goes back to the queue, at no cost."""
        for held in list(session.held.values()):
            if held.state is HeldState.UNWRITTEN:
                self._give_back(session, held)

    def _give_back(self, session: LiveSession, held: Held) -> None:
        future = self._store.give_back(Spoken(held.task_id, held.attempt, session.id))
        future.add_done_callback(partial(self.given_back, session, held))

    def given_back(self, session: LiveSession, held: Held, future: "asyncio.Future[Settlement]") -> None:
        """A give back is through: the slot is free, the task waits again."""
        self.free(session, held)
        if not future.cancelled() and future.exception() is None:
            settlement = future.result()
            self._tally.reverted["returned"] += settlement.moved is not None
            self.came_back(settlement)
            if settlement.moved is None:  # it ended by way of another server: the poll finds how
                self._feed.over(held.strand, held.attempt)

    def came_back(self, settlement: Settlement) -> None:
        """A row that a retry or a give back put back in the queue: it is counted, its lane's servers are told."""
        if settlement.moved is not None:
            self._backlog.came_back(settlement.moved)
            self._feed.lost(settlement.moved.task_id)
            if settlement.moved.ready:
                self.call(settlement.moved.lane)
