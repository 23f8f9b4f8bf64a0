"""Claims about what a registering session still holds: resume, drop, adopt, revert."""

import pytest

from inferpool.core.clock import HOUR, MINUTE, SECOND
from inferpool.core.errors import Code
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Ending, Status
from inferpool.core.session import HeldAttempt
from inferpool.core.task import HeldTask
from inferpool.store.protocol import Verdict
from tests.store.builders import (
    SECOND_SERVER,
    SERVER,
    Rig,
    claimed,
    complete,
    ended,
    new_task,
    registered,
    row_of,
    running,
)

pytestmark = pytest.mark.anyio


async def test_what_the_session_still_holds_is_resumed(rig: Rig) -> None:
    worker = await registered(rig)
    first = await running(rig, worker)
    second = new_task(streaming=True, endpoint="completions")
    await rig.store.enqueue(second, worker.slot())
    before = await row_of(rig, first)
    answer = await worker.register([(first, 1), (second.id, 1)])
    assert (answer.drop, answer.moved) == ([], [])
    assert sorted(answer.resume, key=lambda held: held.task_id) == [
        HeldTask(task_id=first, attempt=1, llm_name=worker.llm, streaming=False, endpoint="chat/completions"),
        HeldTask(task_id=second.id, attempt=1, llm_name=worker.llm, streaming=True, endpoint="completions"),
    ]
    assert await row_of(rig, first) == before


async def test_what_the_session_no_longer_lists_is_reverted_at_once(rig: Rig) -> None:
    worker = await registered(rig)
    rig_task = await running(rig, worker)
    await rig.store.beat(SERVER, [worker.id])
    answer = await worker.register()
    row = await row_of(rig, rig_task)
    assert (row.status, row.tries, row.lost_by, row.claimed_by, row.claimed_at) == (Status.PENDING, 1, None, None, None)
    [moved] = answer.moved
    assert (moved.task_id, moved.status, moved.attempt, moved.session_id) == (rig_task, Status.PENDING, 1, worker.id)
    assert (answer.resume, answer.drop) == ([], [])
    [line] = await rig.reader.attempts(rig_task)
    assert (line.ending, line.counted) == (Ending.REVERTED, True)


async def test_an_attempt_whose_frame_was_never_written_costs_no_try(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await claimed(rig, worker)
    await worker.register(unwritten=[(task_id, 1)])
    row = await row_of(rig, task_id)
    assert (row.status, row.tries) == (Status.PENDING, 0)
    [line] = await rig.reader.attempts(task_id)
    assert not line.counted


@pytest.mark.parametrize("alive", [True, False])
async def test_what_was_lost_with_its_server_costs_no_try(rig: Rig, alive: bool) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.beat(SERVER, [worker.id])
    rig.later(SECOND if alive else MINUTE)
    worker.server_id = SECOND_SERVER
    await worker.register()
    row = await row_of(rig, task_id)
    assert (row.status, row.tries, row.lost_by) == (Status.PENDING, int(alive), None)


async def test_the_last_try_that_is_no_longer_listed_ends_the_task(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker, max_tries=1)
    await rig.store.beat(SERVER, [worker.id])
    answer = await worker.register()
    row = await row_of(rig, task_id)
    assert (row.status, row.error_code, row.tries) == (Status.ERROR, Code.WORKER_LOST, 1)
    assert [moved.status for moved in answer.moved] == [Status.ERROR]


@pytest.mark.parametrize("counts", [True, False])
async def test_what_was_lost_meanwhile_is_adopted(rig: Rig, counts: bool) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    before = await row_of(rig, task_id)
    await worker.lose(counts=counts)
    assert (await row_of(rig, task_id)).tries == counts
    rig.later(MINUTE)
    answer = await worker.register([(task_id, 1)])
    row = await row_of(rig, task_id)
    assert (row.status, row.attempt, row.tries, row.claimed_by) == (Status.CLAIMED, 1, 0, worker.id)
    assert (row.lost_by, row.claimed_llm) == (None, worker.llm)
    assert before.claimed_at is not None
    assert row.claimed_at is not None
    assert row.claimed_at >= before.claimed_at + MINUTE
    assert row.deadline == row.claimed_at + HOUR
    assert [held.task_id for held in answer.resume] == [task_id]
    assert [(moved.task_id, moved.status, moved.attempt) for moved in answer.moved] == [(task_id, Status.CLAIMED, 1)]
    assert answer.drop == []


@pytest.mark.parametrize("counts", [True, False])
async def test_adopt_takes_back_its_own_attempt_alone(rig: Rig, counts: bool) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await worker.lose(counts=not counts)
    await worker.register()
    await worker.claim()
    await worker.lose(counts=counts)
    await worker.register([(task_id, 2)])
    assert (await row_of(rig, task_id)).tries == (not counts)
    assert [(line.attempt, line.counted) for line in await rig.reader.attempts(task_id)] == [(1, not counts)]


async def test_an_adopted_attempt_delivers(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await worker.lose()
    await worker.register([(task_id, 1)])
    said = await rig.store.complete(complete(worker.says(task_id)))
    assert said.verdict is Verdict.DONE
    assert [line.ending for line in await rig.reader.attempts(task_id)] == [Ending.COMPLETED]


async def test_a_lost_attempt_that_was_claimed_since_is_dropped(rig: Rig) -> None:
    worker, sibling = await registered(rig), await registered(rig, "b")
    task_id = await running(rig, worker)
    await worker.lose()
    await sibling.claim()
    answer = await worker.register([(task_id, 1)])
    assert (answer.resume, answer.drop, answer.moved) == ([], [HeldAttempt(task_id, 1)], [])
    row = await row_of(rig, task_id)
    assert (row.claimed_by, row.attempt) == (sibling.id, 2)


async def test_a_lost_attempt_that_was_claimed_with_a_give_back_since_is_dropped(rig: Rig) -> None:
    worker, sibling = await registered(rig), await registered(rig, "b")
    task_id = await running(rig, worker)
    await worker.lose()
    await sibling.claim()
    await rig.store.give_back(sibling.says(task_id, 2))
    answer = await worker.register([(task_id, 1)])
    assert answer.drop == [HeldAttempt(task_id, 1)]
    assert (await row_of(rig, task_id)).status is Status.PENDING


async def test_a_lost_task_that_is_not_listed_may_be_delivered_by_anybody(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await worker.lose()
    assert (await row_of(rig, task_id)).lost_by == worker.id
    answer = await worker.register()
    row = await row_of(rig, task_id)
    assert (row.status, row.lost_by, row.tries) == (Status.PENDING, None, 1)
    assert (answer.resume, answer.drop) == ([], [])
    assert [line.ending for line in await rig.reader.attempts(task_id)] == [Ending.REVERTED]


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.ERROR, Status.CANCELLED])
async def test_an_ended_task_is_dropped(rig: Rig, status: Status) -> None:
    worker = await registered(rig)
    task_id = await ended(rig, worker, status)
    before = await row_of(rig, task_id)
    answer = await worker.register([(task_id, 1)])
    assert (answer.resume, answer.drop, answer.moved) == ([], [HeldAttempt(task_id, 1)], [])
    assert await row_of(rig, task_id) == before


async def test_a_task_that_is_not_there_is_dropped(rig: Rig) -> None:
    worker = await registered(rig)
    stranger = TaskId(new_task().id)
    answer = await worker.register([(stranger, 3)])
    assert (answer.resume, answer.drop) == ([], [HeldAttempt(stranger, 3)])


async def test_another_sessions_task_is_dropped(rig: Rig) -> None:
    worker, other = await registered(rig), await registered(rig, "b")
    task_id = await running(rig, worker)
    answer = await other.register([(task_id, 1)])
    assert answer.drop == [HeldAttempt(task_id, 1)]
    assert (await row_of(rig, task_id)).claimed_by == worker.id


async def test_an_older_attempt_is_dropped_while_the_newer_one_reverts(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await claimed(rig, worker)
    await rig.store.give_back(worker.says(task_id))
    await worker.claim()
    answer = await worker.register([(task_id, 1)])
    row = await row_of(rig, task_id)
    assert answer.drop == [HeldAttempt(task_id, 1)]
    assert (row.status, row.attempt, row.lost_by) == (Status.PENDING, 2, None)


async def test_what_several_attempts_became_is_answered_each_by_itself(rig: Rig) -> None:
    worker = await registered(rig)
    kept, gone = await running(rig, worker), await running(rig, worker)
    done = await ended(rig, worker, Status.COMPLETED)
    answer = await worker.register([(kept, 1), (done, 1)])
    assert [held.task_id for held in answer.resume] == [kept]
    assert answer.drop == [HeldAttempt(done, 1)]
    assert [moved.task_id for moved in answer.moved] == [gone]
    assert (await row_of(rig, kept)).status is Status.RUNNING
