"""A state machine that drives a real store beside the law: whatever is said in whatever order, both agree."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from inferpool.core.clock import HOUR, SECOND
from inferpool.core.errors import Conflict, NotFound
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Act, Standing, Verb
from inferpool.core.task import QueueMode
from inferpool.store.invariants import check
from inferpool.store.protocol import Cancelled, Moved, Settlement, Spoken, Store, Verdict
from tests.store.builders import SERVER, Rig, complete, fail, new_task, retry
from tests.store.machine import BEHIND, DELAY, EVERY, PICKS, SESSIONS, SPEAKERS, Bench, Keeps
from tests.store.model import ModelTask
from tests.store.rigs import postgres_rig

Say: TypeAlias = Callable[[Store, Spoken, Act], Awaitable[Settlement]]

SAY: Mapping[Verb, Say] = {
    Verb.COMPLETE: lambda store, spoken, _: store.complete(complete(spoken)),
    Verb.FAIL: lambda store, spoken, _: store.fail(fail(spoken)),
    Verb.RETRY: lambda store, spoken, act: store.retry(retry(spoken, counts=act.counts, delay=DELAY)),
    Verb.GIVE_BACK: lambda store, spoken, _: store.give_back(spoken),
}


class TaskVerbs(Bench):
    """What callers ask, what sessions say of their tasks."""

    @rule(
        ranks=st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=4),
        max_tries=st.sampled_from([1, 2, 3, 3]),
        mode=st.sampled_from(QueueMode),
        who=SPEAKERS,
    )
    def enqueue(self, ranks: list[float], max_tries: int, mode: QueueMode, who: int | None) -> None:
        for rank in ranks:
            task = new_task(rank=rank, max_tries=max_tries, mode=mode)
            slot = None if who is None else self.workers[who].slot()
            made = self.run(self.store.enqueue(task, slot))
            standing = Standing(max_tries=max_tries, patient=mode is QueueMode.WAIT)
            model = ModelTask(standing=standing, rank=rank, expires_at=self.model.now + HOUR)
            self.model.enqueue(task.id, model, slot.session_id if slot else None)
            assert (made.created, made.status, made.attempt) == (True, model.standing.status, model.standing.attempt)

    @precondition(lambda self: self.fit(Verb.CLAIM))
    @rule(who=SESSIONS, free=st.integers(min_value=0, max_value=3))
    def claim(self, who: int, free: int) -> None:
        taken = self.run(self.workers[who].claim(free=free))
        assert [each.task_id for each in taken] == self.model.claim(self.workers[who].id, free)

    @precondition(lambda self: self.fit(Verb.START))
    @rule(pick=PICKS, who=SPEAKERS, behind=BEHIND)
    def start(self, pick: tuple[int, bool], who: int | None, behind: int) -> None:
        task_id = self.pick(pick, Verb.START)
        spoken, act = self.speaker(task_id, who, behind)
        self.store.start(spoken)
        self.run(self.rig.flushed())
        self.model.do(task_id, Verb.START, act)

    @precondition(lambda self: self.fit(Verb.COMPLETE))
    @rule(pick=PICKS, who=SPEAKERS, behind=BEHIND)
    def complete(self, pick: tuple[int, bool], who: int | None, behind: int) -> None:
        self.say(Verb.COMPLETE, *self.speaker(self.pick(pick, Verb.COMPLETE), who, behind))

    @precondition(lambda self: self.fit(Verb.FAIL))
    @rule(pick=PICKS, who=SPEAKERS, behind=BEHIND)
    def fail(self, pick: tuple[int, bool], who: int | None, behind: int) -> None:
        self.say(Verb.FAIL, *self.speaker(self.pick(pick, Verb.FAIL), who, behind))

    @precondition(lambda self: self.fit(Verb.GIVE_BACK))
    @rule(pick=PICKS, who=SPEAKERS, behind=BEHIND)
    def give_back(self, pick: tuple[int, bool], who: int | None, behind: int) -> None:
        self.say(Verb.GIVE_BACK, *self.speaker(self.pick(pick, Verb.GIVE_BACK), who, behind))

    @precondition(lambda self: self.fit(Verb.RETRY))
    @rule(pick=PICKS, who=SPEAKERS, behind=BEHIND, counts=st.booleans())
    def retry(self, pick: tuple[int, bool], who: int | None, behind: int, counts: bool) -> None:
        spoken, act = self.speaker(self.pick(pick, Verb.RETRY), who, behind)
        self.say(Verb.RETRY, spoken, msgspec.structs.replace(act, counts=counts))

    @precondition(lambda self: self.spoken)
    @rule(which=st.integers(min_value=0, max_value=5))
    def say_again(self, which: int) -> None:
        verb, spoken = self.spoken[-1 - which % len(self.spoken)]
        self.say(verb, spoken, Act(session=spoken.session_id, attempt=spoken.attempt))

    def say(self, verb: Verb, spoken: Spoken, act: Act) -> None:
        """Say it to the store, then to the law: both tell the same."""
        said = self.run(SAY[verb](self.store, spoken, act))
        law = self.model.said(spoken.task_id, verb, act)
        assert (said.verdict, said.status) == law
        if verb is Verb.RETRY and said.verdict is Verdict.DONE:
            self.model.tasks[spoken.task_id].available_at = self.model.now + DELAY
        self.spoken.append((verb, spoken))

    @precondition(lambda self: self.fit(Verb.CANCEL))
    @rule(pick=PICKS)
    def cancel(self, pick: tuple[int, bool]) -> None:
        task_id = self.pick(pick, Verb.CANCEL)
        cancelled = self.run(self.store.cancel(task_id))
        self.check_cancelled(task_id, cancelled)

    def check_cancelled(self, task_id: TaskId, cancelled: Cancelled) -> None:
        done = self.model.do(task_id, Verb.CANCEL, Act())
        task = self.model.tasks.get(task_id)
        assert (cancelled.moved is not None) == done
        assert cancelled.status == (task.standing.status if task else None)

    @precondition(lambda self: self.fit(Verb.COMPLETE))
    @rule(
        pick=PICKS,
        who=SPEAKERS,
        verbs=st.permutations([Verb.COMPLETE, Verb.FAIL, Verb.RETRY, Verb.GIVE_BACK, Verb.CANCEL]),
    )
    def say_all_at_once(self, pick: tuple[int, bool], who: int | None, verbs: list[Verb]) -> None:
        task_id = self.pick(pick, Verb.COMPLETE)
        spoken, act = self.speaker(task_id, who, 0)
        outcomes = self.run(self.at_once(spoken, act, verbs))
        for verb, outcome in zip(verbs, outcomes, strict=True):
            if isinstance(outcome, Cancelled):
                self.check_cancelled(task_id, outcome)
            else:
                assert (outcome.verdict, outcome.status) == self.model.said(task_id, verb, act)
            if verb is Verb.RETRY and isinstance(outcome, Settlement) and outcome.verdict is Verdict.DONE:
                self.model.tasks[task_id].available_at = self.model.now + DELAY

    async def at_once(self, spoken: Spoken, act: Act, verbs: list[Verb]) -> list[Settlement | Cancelled]:
        """Submit each of the verbs before any of them is done."""
        says = [
            SAY[verb](self.store, spoken, act) if verb in SAY else self.store.cancel(spoken.task_id) for verb in verbs
        ]
        return await asyncio.gather(*says)

    @precondition(lambda self: self.fit(Verb.REPLAY))
    @rule(pick=PICKS, rank=st.sampled_from([1.0, 9.0]))
    def replay(self, pick: tuple[int, bool], rank: float) -> None:
        task_id = self.pick(pick, Verb.REPLAY)
        done = self.run(_done(self.store.replay(task_id, rank, HOUR)))
        assert done == self.model.do(task_id, Verb.REPLAY, Act())
        if done:
            self.model.tasks[task_id].rank = rank
            self.model.tasks[task_id].expires_at = self.model.now + HOUR

    @precondition(lambda self: self.fit(Verb.DELETE))
    @rule(pick=PICKS)
    def purge(self, pick: tuple[int, bool]) -> None:
        task_id = self.pick(pick, Verb.DELETE)
        done = self.run(_done(self.store.purge(task_id)))
        assert done == self.model.do(task_id, Verb.DELETE, Act())


class StoreMachine(TaskVerbs):
    """Three sessions of one pool with the tasks that they claim, lose, finish."""

    @rule(
        who=SESSIONS,
        keeps=st.sampled_from([Keeps.ALL, Keeps.ALL, Keeps.HELD, Keeps.LOST, Keeps.NOTHING]),
        strays=st.lists(st.tuples(PICKS, BEHIND), max_size=2),
        written=st.booleans(),
    )
    def register(self, who: int, keeps: Keeps, strays: list[tuple[tuple[int, bool], int]], written: bool) -> None:
        worker = self.workers[who]
        held = self.attempts(lambda standing: standing.claimed_by == worker.id)
        lost = self.attempts(lambda standing: standing.lost_by == worker.id)
        strange = [(self.pick(pick, Verb.ADOPT), behind) for pick, behind in strays]
        holding = {(task_id, self.attempt(task_id) - behind) for task_id, behind in strange}
        holding |= set(held) if keeps in {Keeps.ALL, Keeps.HELD} else set()
        holding |= set(lost) if keeps in {Keeps.ALL, Keeps.LOST} else set()
        unwritten = [] if written else held
        answer = self.run(worker.register(sorted(holding), unwritten=unwritten))
        self.model.register(worker.id, holding, unwritten)
        resumed = holding & set(self.attempts(lambda standing: standing.claimed_by == worker.id))
        assert {(held.task_id, held.attempt) for held in answer.resume} == resumed
        assert {(held.task_id, held.attempt) for held in answer.drop} == holding - resumed

    def attempts(self, which: Callable[[Standing], bool]) -> list[tuple[TaskId, int]]:
        """The newest attempts of the tasks that stand like this."""
        tasks = self.model.tasks.items()
        return [(task_id, task.standing.attempt) for task_id, task in tasks if which(task.standing)]

    @precondition(lambda self: self.fit(Verb.REVERT))
    @rule(who=SPEAKERS, pick=PICKS, counts=st.booleans())
    def deactivate(self, who: int | None, pick: tuple[int, bool], counts: bool) -> None:
        spoken, _ = self.speaker(self.pick(pick, Verb.REVERT), who, 0)
        [worker] = [worker for worker in self.workers if worker.id == spoken.session_id]
        session = self.model.sessions.get(worker.id)
        moved = self.run(self.store.deactivate(worker.loss(counts=counts)))
        if session is None or not session.active:
            assert moved is None
        else:
            assert moved is not None
            assert _ids(moved) == set(self.model.lose(worker.id, counts=counts))

    @precondition(lambda self: self.fit(Verb.REVERT))
    @rule(who=SESSIONS)
    def leave(self, who: int) -> None:
        session = self.model.sessions.get(self.workers[who].id)
        if session is not None:
            self.run(self.store.leave(self.workers[who].id, session.epoch))
            session.leaving = session.active

    @rule(seconds=st.sampled_from([1, 4, 5, 5, 60, 3_600]), heard=st.sets(SESSIONS, min_size=1))
    def wait(self, seconds: int, heard: set[int]) -> None:
        self.rig.later(seconds * SECOND)
        self.model.now += seconds * SECOND
        beaten = [self.workers[who].id for who in sorted(heard)]
        self.run(self.store.beat(SERVER, beaten))
        self.model.beat(beaten)
        self.sweep()

    def sweep(self) -> None:
        """Run what the clock alone asks for."""
        assert _ids(self.run(self.store.make_ready(EVERY))) == self.model.make_ready()
        assert _ids(self.run(self.store.end_overdue(EVERY))) == self.model.end_overdue()
        assert _ids(self.run(self.store.expire(EVERY))) == self.model.expire()
        moved = self.run(self.store.deactivate_silent(HOUR, EVERY))
        lost = [self.model.lose(session_id) for session_id in self.model.silent(HOUR)]
        assert _ids(moved) == {task_id for each in lost for task_id in each}

    @rule()
    def ask_the_doctor(self) -> None:
        assert self.run(check(self.doctor)) == []


async def _done(work: Awaitable[object]) -> bool:
    try:
        await work
    except (Conflict, NotFound):
        return False
    return True


def _ids(moved: list[Moved]) -> set[TaskId]:
    return {each.task_id for each in moved}


StoreMachine.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    print_blob=True,
    # Shrinking may take five minutes, longer than a test may run: the blob replays the run, to be shrunk by hand.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

TestStoreAgreesWithTheLaw = StoreMachine.TestCase


class PostgresMachine(StoreMachine):
    """The same on PostgreSQL, less often: each step costs it several times as much."""

    def rigged(self) -> AbstractAsyncContextManager[Rig]:
        return postgres_rig(self.folder)


PostgresMachine.TestCase.settings = settings(StoreMachine.TestCase.settings, max_examples=25)

TestPostgresAgreesWithTheLaw = PostgresMachine.TestCase
