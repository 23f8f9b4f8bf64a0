"""The bench of the store's state machine: a real store with the law's model beside it."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from enum import Enum
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from inferpool.core.clock import SECOND
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import HELD, TERMINAL, TRANSITIONS, Act, Status, Verb
from inferpool.core.task import TaskFilter, TaskRow
from inferpool.store.protocol import Spoken
from tests.store.builders import Rig, Worker
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


PICKS = st.tuples(st.integers(min_value=0, max_value=9), st.sampled_from([True, True, True, False]))
"""Which task, with whether it is one of those that the verb is made for."""

GHOST = TaskId("01900000-0000-7000-8000-ffffffffffff")
"""The id of no task."""


class Keeps(Enum):
    """What a registering session still lists of what was its own."""

    ALL = "all"
    HELD = "held"
    LOST = "lost"
    NOTHING = "nothing"


class Bench(RuleBasedStateMachine):
    """A real store beside the model, compared after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="store-machine-"))
        self.exits = AsyncExitStack()
        self.rig = self.run(self.exits.enter_async_context(self.rigged()))
        self.store = self.rig.store
        self.doctor = self.rig.doctor()
        self.model = Model()
        self.model.now = self.rig.now()
        self.workers = [Worker(self.rig, name) for name in "abc"]
        self.spoken: list[tuple[Verb, Spoken]] = []
        for worker in self.workers[:2]:
            self.run(worker.register())
            self.model.register(worker.id, (), ())

    def rigged(self) -> AbstractAsyncContextManager[Rig]:
        """The store to drive."""
        return sqlite_rig(self.folder)

    def run(self, work: Awaitable[T]) -> T:
        """Await it on the machine's own event loop."""
        return self.loop.run(_awaited(work))

    def teardown(self) -> None:
        self.doctor.close()
        self.run(self.exits.aclose())
        self.loop.close()
        shutil.rmtree(self.folder)

    def fit(self, verb: Verb) -> list[TaskId]:
        """The tasks in a state that the verb may leave."""
        sources = TRANSITIONS[verb].sources
        return [task_id for task_id, task in self.model.tasks.items() if task.standing.status in sources]

    def pick(self, pick: tuple[int, bool], verb: Verb) -> TaskId:
        """The task that is meant; one that is not there when there is none."""
        place, aimed = pick
        choice = (self.fit(verb) if aimed else None) or [*self.model.tasks, GHOST]
        return choice[place % len(choice)]

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


async def _awaited(work: Awaitable[T]) -> T:
    return await work


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
