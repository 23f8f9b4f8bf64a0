"""A model of the store for the state machine: the law's own standing of each task, moved by `advance` alone."""

from collections.abc import Collection, Sequence

import msgspec

from inferpool.core.clock import HOUR, Micros
from inferpool.core.ids import SessionId, TaskId
from inferpool.core.lifecycle import HELD, Act, Ending, Refused, Standing, Status, Verb, advance, refusal
from inferpool.store.protocol import Verdict

ENDINGS = {
    Verb.COMPLETE: Ending.COMPLETED,
    Verb.FAIL: Ending.FAILED,
    Verb.RETRY: Ending.RETRIED,
    Verb.REVERT: Ending.REVERTED,
    Verb.GIVE_BACK: Ending.RETURNED,
    Verb.CANCEL: Ending.CANCELLED,
}

REPEATS = {
    Verb.COMPLETE: {Ending.COMPLETED},
    Verb.FAIL: {Ending.FAILED, Ending.RETRIED},
    Verb.RETRY: {Ending.FAILED, Ending.RETRIED},
    Verb.GIVE_BACK: {Ending.RETURNED},
}


class Line(msgspec.Struct, frozen=True):
    """One ended attempt."""

    session_id: SessionId
    ending: Ending
    counted: bool


class ModelTask(msgspec.Struct, kw_only=True):
    """A task as the law sees it, with its times and its history by attempt."""

    standing: Standing
    rank: float
    expires_at: Micros
    available_at: Micros = 0
    deadline: Micros | None = None
    history: dict[int, Line] = {}


class ModelSession(msgspec.Struct):
    """A session as the law of registering sees it."""

    epoch: int
    seen_at: Micros
    active: bool = True
    leaving: bool = False

    @property
    def claims(self) -> bool:
        """Whether it may be given tasks."""
        return self.active and not self.leaving


class Model:
    """What the store should hold."""

    def __init__(self) -> None:
        self.tasks: dict[TaskId, ModelTask] = {}
        self.sessions: dict[SessionId, ModelSession] = {}
        self.now: Micros = 0

    def enqueue(self, task_id: TaskId, task: ModelTask, session_id: SessionId | None) -> None:
        """Insert a task, claimed at once when the session may be given one."""
        self.tasks[task_id] = task
        session = self.sessions.get(session_id) if session_id else None
        if session and session.claims:
            self.do(task_id, Verb.CLAIM, Act(session=session_id))

    def do(self, task_id: TaskId, verb: Verb, act: Act) -> bool:
        """Do the verb if the law lets it be done; tells whether it did."""
        task = self.tasks.get(task_id)
        if task is None:
            return False
        before = task.standing
        try:
            after = advance(before, verb, act)
        except Refused:
            return False
        if after is None:
            del self.tasks[task_id]
            return True
        task.standing = after
        self._write_history(task, verb, before, after)
        if after.status not in HELD:
            task.deadline = None
        elif verb in {Verb.CLAIM, Verb.ADOPT}:
            task.deadline = self.now + HOUR
        return True

    def _write_history(self, task: ModelTask, verb: Verb, before: Standing, after: Standing) -> None:
        if verb is Verb.ADOPT:
            del task.history[before.attempt]
        if before.claimed_by is None or after.status in HELD:
            return
        ending = Ending.FAILED if verb is Verb.RETRY and after.status is Status.ERROR else ENDINGS[verb]
        task.history[before.attempt] = Line(before.claimed_by, ending, after.tries > before.tries)

    def said(self, task_id: TaskId, verb: Verb, act: Act) -> tuple[Verdict, Status | None]:
        """Do what a session said; gives what it is told."""
        done = self.do(task_id, verb, act)
        task = self.tasks.get(task_id)
        if task is None:
            return Verdict.UNKNOWN, None
        line = task.history.get(act.attempt or 0)
        if done:
            verdict = Verdict.DONE
        elif line is not None and line.session_id == act.session and line.ending in REPEATS[verb]:
            verdict = Verdict.REPEAT
        else:
            verdict = Verdict(refusal(task.standing).value)
        return verdict, task.standing.status

    def claim(self, session_id: SessionId, free: int) -> list[TaskId]:
        """Claim the first ready tasks by (rank, id)."""
        session = self.sessions.get(session_id)
        if session is None or not session.claims:
            return []
        ready = [
            (task.rank, task_id)
            for task_id, task in self.tasks.items()
            if task.standing.status is Status.PENDING and task.standing.ready
        ]
        taken = [task_id for _, task_id in sorted(ready)[:free]]
        for task_id in taken:
            assert self.do(task_id, Verb.CLAIM, Act(session=session_id))
        return taken

    def register(
        self, session_id: SessionId, holding: Collection[tuple[TaskId, int]], unwritten: Collection[tuple[TaskId, int]]
    ) -> None:
        """Register under the next epoch: revert what is no longer listed, adopt what was lost, give up the rest."""
        epoch = self.sessions[session_id].epoch if session_id in self.sessions else 0
        self.sessions[session_id] = ModelSession(epoch + 1, self.now)
        for task_id in self.held(session_id):
            attempt = self.tasks[task_id].standing.attempt
            if (task_id, attempt) not in holding:
                self.revert(task_id, counts=(task_id, attempt) not in unwritten)
        for task_id, task in self.tasks.items():
            if task.standing.lost_by != session_id:
                continue
            attempt = task.standing.attempt
            if (task_id, attempt) not in holding:
                task.standing = msgspec.structs.replace(task.standing, lost_by=None, lost_counted=False)
            else:
                assert self.do(task_id, Verb.ADOPT, Act(session=session_id, attempt=attempt))

    def held(self, session_id: SessionId) -> list[TaskId]:
        """What the session holds."""
        return [task_id for task_id, task in self.tasks.items() if task.standing.claimed_by == session_id]

    def revert(self, task_id: TaskId, *, counts: bool) -> None:
        """Put a held task back because its session is gone."""
        standing = self.tasks[task_id].standing
        assert self.do(task_id, Verb.REVERT, Act(session=standing.claimed_by, attempt=standing.attempt, counts=counts))

    def lose(self, session_id: SessionId, *, counts: bool = True) -> list[TaskId]:
        """End an active session; gives what it held: after a leave it reverts without a try."""
        session = self.sessions[session_id]
        held = self.held(session_id)
        for task_id in held:
            self.revert(task_id, counts=counts and not session.leaving)
        session.active = session.leaving = False
        return held

    def beat(self, heard: Sequence[SessionId]) -> None:
        """Take in the heartbeats of the sessions that still are."""
        for session_id in heard:
            session = self.sessions.get(session_id)
            if session is not None and session.active:
                session.seen_at = self.now

    def silent(self, age: Micros) -> list[SessionId]:
        """The active sessions that were not heard for that long."""
        return [
            session_id
            for session_id, session in self.sessions.items()
            if session.active and session.seen_at <= self.now - age
        ]

    def make_ready(self) -> set[TaskId]:
        """End the back-offs that are over."""
        over = {
            task_id for task_id, task in self.tasks.items() if not task.standing.ready and task.available_at <= self.now
        }
        for task_id in over:
            self.tasks[task_id].standing = msgspec.structs.replace(self.tasks[task_id].standing, ready=True)
        return over

    def expire(self) -> set[TaskId]:
        """End what waited too long."""
        late = [task_id for task_id, task in self.tasks.items() if task.expires_at <= self.now]
        return {task_id for task_id in late if self.do(task_id, Verb.EXPIRE, Act())}

    def end_overdue(self) -> set[TaskId]:
        """End what ran too long."""
        late = {
            task_id: task.standing
            for task_id, task in self.tasks.items()
            if task.deadline is not None and task.deadline <= self.now
        }
        for task_id, standing in late.items():
            assert self.do(task_id, Verb.FAIL, Act(session=standing.claimed_by, attempt=standing.attempt))
        return set(late)

    def lines(self) -> Sequence[tuple[TaskId, int, SessionId, Ending, bool]]:
        """The whole history, sorted."""
        return sorted(
            (task_id, attempt, line.session_id, line.ending, line.counted)
            for task_id, task in self.tasks.items()
            for attempt, line in task.history.items()
        )
