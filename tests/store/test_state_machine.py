"""A state machine that drives a real store beside the law: whatever is said in whatever order, both agree."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from inferpool.core.clock import HOUR, MINUTE, SECOND
from inferpool.core.errors import Conflict, NotFound
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import HELD, TERMINAL, Act, Standing, Status, Verb
from inferpool.core.task import QueueMode, TaskRow
from inferpool.store.protocol import Cancelled, Moved, Settlement, Spoken, TaskFilter, Verdict
from tests.store.builders import SERVER, Worker, complete, fail, new_task, retry
from tests.store.model import Model, ModelTask
from tests.store.rigs import sqlite_rig

T = TypeVar("T")

EVERY = 1_000
DELAY = 5 * SECOND

SPEAKERS = st.sampled_from([None, None, 0, 1, 2])
"""One of the three sessions; None: whoever holds the task."""

BEHIND = st.sampled_from([0, 0, 0, 1])
"""How old the attempt is of which somebody speaks."""

SESSIONS = st.integers(min_value=0, max_value=2)


TASKS: Bundle[TaskId] = Bundle("tasks")


class Bench(RuleBasedStateMachine):
    """A real store beside the model, compared after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="store-machine-"))
        self.exits = AsyncExitStack()
        self.rig = self.run(self.exits.enter_async_context(sqlite_rig(self.folder)))
        self.store = self.rig.store
        self.model = Model()
        self.model.now = self.rig.now()
        self.workers = [Worker(self.rig, name) for name in "abc"]

    def run(self, work: Awaitable[T]) -> T:
        """Await it on the machine's own event loop."""
        return self.loop.run(_awaited(work))

    def teardown(self) -> None:
        self.run(self.exits.aclose())
        self.loop.close()
        shutil.rmtree(self.folder)

    def speaker(self, task_id: TaskId, who: int | None, behind: int) -> tuple[Spoken, Act]:
        """Somebody's word on an attempt, for the store, then for the law."""
        task = self.model.tasks.get(task_id)
        holder = task.standing.claimed_by if task else None
        session_id = self.workers[who or 0].id if who is not None or holder is None else holder
        attempt = (task.standing.attempt if task else 1) - behind
        return Spoken(task_id, attempt, session_id), Act(session=session_id, attempt=attempt)

    def attempt(self, task_id: TaskId) -> int:
        task = self.model.tasks.get(task_id)
        return task.standing.attempt if task else 1

    @invariant()
    def every_row_stands_as_the_law_has_it(self) -> None:
        rows = {row.id: row for row in self.run(self.rig.reader.tasks(TaskFilter(), None, EVERY))}
        assert rows.keys() == self.model.tasks.keys()
        for task_id, task in self.model.tasks.items():
            _check(rows[task_id], task)

    @invariant()
    def the_history_is_complete(self) -> None:
        lines = self.rig.sql("SELECT task_id, attempt, session_id, ending, counted FROM attempts ORDER BY 1, 2")
        assert lines == [(*line[:3], line[3].value, int(line[4])) for line in self.model.lines()]
        for task in self.model.tasks.values():
            over = task.standing.attempt - (task.standing.status in HELD)
            assert list(task.history) == list(range(1, over + 1))


class TaskVerbs(Bench):
    """What callers ask, what sessions say of their tasks."""

    @rule(
        target=TASKS,
        rank=st.sampled_from([1.0, 2.0, 3.0]),
        max_tries=st.sampled_from([1, 2, 3]),
        mode=st.sampled_from(QueueMode),
        who=SPEAKERS,
    )
    def enqueue(self, rank: float, max_tries: int, mode: QueueMode, who: int | None) -> TaskId:
        task = new_task(rank=rank, max_tries=max_tries, mode=mode)
        slot = None if who is None else self.workers[who].slot()
        made = self.run(self.store.enqueue(task, slot))
        standing = Standing(max_tries=max_tries, patient=mode is QueueMode.WAIT)
        model = ModelTask(standing=standing, rank=rank, expires_at=self.model.now + HOUR)
        self.model.enqueue(task.id, model, slot.session_id if slot else None)
        assert (made.created, made.status, made.attempt) == (True, model.standing.status, model.standing.attempt)
        return task.id

    @rule(who=SESSIONS, free=st.integers(min_value=0, max_value=3))
    def claim(self, who: int, free: int) -> None:
        taken = self.run(self.workers[who].claim(free=free))
        assert [each.task_id for each in taken] == self.model.claim(self.workers[who].id, free)

    @rule(task_id=TASKS, who=SPEAKERS, behind=BEHIND)
    def start(self, task_id: TaskId, who: int | None, behind: int) -> None:
        spoken, act = self.speaker(task_id, who, behind)
        self.store.start(spoken)
        self.run(self.rig.flushed())
        self.model.do(task_id, Verb.START, act)

    @rule(task_id=TASKS, who=SPEAKERS, behind=BEHIND)
    def complete(self, task_id: TaskId, who: int | None, behind: int) -> None:
        spoken, act = self.speaker(task_id, who, behind)
        said = self.run(self.store.complete(complete(spoken)))
        assert _told(said) == self.model.said(task_id, Verb.COMPLETE, act)

    @rule(task_id=TASKS, who=SPEAKERS, behind=BEHIND)
    def fail(self, task_id: TaskId, who: int | None, behind: int) -> None:
        spoken, act = self.speaker(task_id, who, behind)
        said = self.run(self.store.fail(fail(spoken)))
        assert _told(said) == self.model.said(task_id, Verb.FAIL, act)

    @rule(task_id=TASKS, who=SPEAKERS, behind=BEHIND, counts=st.booleans())
    def retry(self, task_id: TaskId, who: int | None, behind: int, counts: bool) -> None:
        spoken, act = self.speaker(task_id, who, behind)
        said = self.run(self.store.retry(retry(spoken, counts=counts, delay=DELAY)))
        law = self.model.said(task_id, Verb.RETRY, Act(session=act.session, attempt=act.attempt, counts=counts))
        assert _told(said) == law
        if said.verdict == "done":
            self.model.tasks[task_id].available_at = self.model.now + DELAY

    @rule(task_id=TASKS, who=SPEAKERS, behind=BEHIND)
    def give_back(self, task_id: TaskId, who: int | None, behind: int) -> None:
        spoken, act = self.speaker(task_id, who, behind)
        said = self.run(self.store.give_back(spoken))
        assert _told(said) == self.model.said(task_id, Verb.GIVE_BACK, act)

    @rule(task_id=TASKS)
    def cancel(self, task_id: TaskId) -> None:
        cancelled = self.run(self.store.cancel(task_id))
        self.check_cancelled(task_id, cancelled)

    def check_cancelled(self, task_id: TaskId, cancelled: Cancelled) -> None:
        done = self.model.do(task_id, Verb.CANCEL, Act())
        task = self.model.tasks.get(task_id)
        assert (cancelled.moved is not None) == done
        assert cancelled.status == (task.standing.status if task else None)

    @rule(task_id=TASKS, who=SPEAKERS, verbs=st.permutations(["complete", "fail", "give back", "cancel"]))
    def say_all_at_once(self, task_id: TaskId, who: int | None, verbs: list[str]) -> None:
        spoken, act = self.speaker(task_id, who, 0)
        outcomes = self.run(self.at_once(spoken, verbs))
        for verb, outcome in zip(verbs, outcomes, strict=True):
            if isinstance(outcome, Cancelled):
                self.check_cancelled(task_id, outcome)
            else:
                assert _told(outcome) == self.model.said(task_id, Verb(verb.replace(" ", "_")), act)

    async def at_once(self, spoken: Spoken, verbs: list[str]) -> list[Settlement | Cancelled]:
        """Submit each of the verbs before any of them is done."""
        says: dict[str, Callable[[], Awaitable[Settlement | Cancelled]]] = {
            "complete": lambda: self.store.complete(complete(spoken)),
            "fail": lambda: self.store.fail(fail(spoken)),
            "give back": lambda: self.store.give_back(spoken),
            "cancel": lambda: self.store.cancel(spoken.task_id),
        }
        return await asyncio.gather(*(says[verb]() for verb in verbs))

    @rule(task_id=TASKS, rank=st.sampled_from([1.0, 9.0]))
    def replay(self, task_id: TaskId, rank: float) -> None:
        done = self.run(_done(self.store.replay(task_id, rank, HOUR)))
        assert done == self.model.do(task_id, Verb.REPLAY, Act())
        if done:
            self.model.tasks[task_id].rank = rank
            self.model.tasks[task_id].expires_at = self.model.now + HOUR

    @rule(task_id=consumes(TASKS))
    def purge(self, task_id: TaskId) -> None:
        done = self.run(_done(self.store.purge(task_id)))
        assert done == self.model.do(task_id, Verb.DELETE, Act())


class StoreMachine(TaskVerbs):
    """Three sessions of one pool with the tasks that they claim, lose, finish."""

    @rule(
        who=SESSIONS, listed=st.lists(st.tuples(TASKS, BEHIND), max_size=4), keeps=st.booleans(), written=st.booleans()
    )
    def register(self, who: int, listed: list[tuple[TaskId, int]], keeps: bool, written: bool) -> None:
        worker = self.workers[who]
        mine = [(task_id, self.model.tasks[task_id].standing.attempt) for task_id in self.model.held(worker.id)]
        holding = {(task_id, self.attempt(task_id) - behind) for task_id, behind in listed}
        holding |= set(mine) if keeps else set()
        unwritten = [] if written else mine
        self.run(self.store.beat(SERVER, []))
        answer = self.run(worker.register(sorted(holding), unwritten=unwritten))
        resumed = self.model.register(worker.id, holding, unwritten)
        assert {held.task_id for held in answer.resume} == resumed
        assert {(held.task_id, held.attempt) for held in answer.drop} == {
            (task_id, attempt)
            for task_id, attempt in holding
            if task_id not in resumed or attempt != self.attempt(task_id)
        }

    @rule(who=SESSIONS, counts=st.booleans())
    def deactivate(self, who: int, counts: bool) -> None:
        worker = self.workers[who]
        session = self.model.sessions.get(worker.id)
        counts = counts and not (session and session.leaving)
        moved = self.run(self.store.deactivate(worker.loss(counts=counts)))
        if session is None or not session.active:
            assert moved is None
            return
        assert moved is not None
        assert {each.task_id for each in moved} == set(self.model.lose(worker.id, counts=counts))

    @rule(who=SESSIONS)
    def leave(self, who: int) -> None:
        session = self.model.sessions.get(self.workers[who].id)
        if session is not None and session.active:
            self.run(self.store.leave(self.workers[who].id, session.epoch))
            session.leaving = True

    @rule(who=SESSIONS)
    def beat(self, who: int) -> None:
        self.run(self.store.beat(SERVER, [self.workers[who].id]))
        session = self.model.sessions.get(self.workers[who].id)
        if session is not None and session.active:
            session.seen_at = self.model.now

    @rule(seconds=st.sampled_from([1, 4, 5, 60, 1_800, 3_600]))
    def wait(self, seconds: int) -> None:
        self.rig.later(seconds * SECOND)
        self.model.now += seconds * SECOND

    @rule()
    def sweep(self) -> None:
        assert _ids(self.run(self.store.make_ready(EVERY))) == self.model.make_ready()
        assert _ids(self.run(self.store.end_overdue(EVERY))) == self.model.end_overdue()
        assert _ids(self.run(self.store.expire(EVERY))) == self.model.expire()

    @rule()
    def lose_the_silent(self) -> None:
        silent = self.model.silent(MINUTE)
        leaving = [session_id for session_id in silent if self.model.sessions[session_id].leaving]
        moved = self.run(self.store.deactivate_silent(MINUTE, EVERY))
        lost = [self.model.lose(session_id, counts=session_id not in leaving) for session_id in silent]
        assert _ids(moved) == {task_id for each in lost for task_id in each}


async def _awaited(work: Awaitable[T]) -> T:
    return await work


async def _done(work: Awaitable[object]) -> bool:
    try:
        await work
    except (Conflict, NotFound):
        return False
    return True


def _told(said: Settlement) -> tuple[Verdict, Status | None]:
    return said.verdict, said.status


def _ids(moved: list[Moved]) -> set[TaskId]:
    return {each.task_id for each in moved}


def _check(row: TaskRow, task: ModelTask) -> None:
    """The row stands as the law has it, its times too."""
    law = task.standing
    assert (row.status, row.attempt, row.tries, row.ready) == (law.status, law.attempt, law.tries, law.ready)
    assert (row.claimed_by, row.lost_by, row.rank) == (law.claimed_by, law.lost_by, task.rank)
    assert (row.deadline, row.expires_at) == (task.deadline, task.expires_at)
    assert (row.completed_at is not None) == (row.status in TERMINAL)
    assert (row.stream_started_at is not None) >= (row.status is Status.RUNNING)
    assert (row.claimed_at is not None) >= (row.status in HELD)
    assert row.status is not Status.COMPLETED or row.response_status == 200


StoreMachine.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

TestStoreAgreesWithTheLaw = StoreMachine.TestCase
