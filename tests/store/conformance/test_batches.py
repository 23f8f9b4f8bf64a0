"""Claims about operations that are submitted at once: each has its own outcome, whatever shares its commit."""

import asyncio
from math import nan

import pytest

from inferpool.core.errors import InferpoolError
from inferpool.core.lifecycle import Status
from inferpool.core.task import NewTask
from inferpool.store.protocol import Enqueued, Verdict
from tests.store.builders import (
    Rig,
    claimed,
    complete,
    enqueue,
    fail,
    new_task,
    registered,
    retry,
    row_of,
    running,
)
from tests.store.rigs import RACING

pytestmark = pytest.mark.anyio

BAD = {"no tries": new_task(max_tries=0), "too many tries": new_task(max_tries=101), "no rank": new_task(rank=nan)}


@pytest.mark.parametrize("bad", sorted(BAD))
@pytest.mark.parametrize("at", [0, 7, 19])
async def test_one_bad_row_does_not_fail_its_batch(rig: Rig, bad: str, at: int) -> None:
    tasks = [new_task() for _ in range(20)]
    tasks[at] = BAD[bad]
    made = await asyncio.gather(*(rig.store.enqueue(task, None) for task in tasks), return_exceptions=True)
    assert [at] == [place for place, each in enumerate(made) if isinstance(each, InferpoolError)]
    assert sum(isinstance(each, Enqueued) for each in made) == 19
    stored = {task.task_id for task in await rig.reader.pending(None, 100)}
    assert stored == {task.id for task in tasks if task is not tasks[at]}


@pytest.mark.parametrize("rig", sorted(RACING), indirect=True)
async def test_several_bad_rows_fail_alone(rig: Rig) -> None:
    tasks = [new_task(max_tries=0) if at % 5 == 2 else new_task() for at in range(40)]
    made = await asyncio.gather(*(rig.store.enqueue(task, None) for task in tasks), return_exceptions=True)
    assert [isinstance(each, Enqueued) for each in made] == [task.max_tries == 3 for task in tasks]


async def test_a_bad_row_does_not_fail_other_verbs_of_its_batch(rig: Rig) -> None:
    worker = await registered(rig)
    held = [await running(rig, worker) for _ in range(3)]
    [waiting] = await enqueue(rig)
    bad, done, failed, returned, cancelled = await asyncio.gather(
        rig.store.enqueue(new_task(max_tries=0), worker.slot()),
        rig.store.complete(complete(worker.says(held[0]))),
        rig.store.fail(fail(worker.says(held[1]))),
        rig.store.give_back(worker.says(held[2])),
        rig.store.cancel(waiting),
        return_exceptions=True,
    )
    assert isinstance(bad, InferpoolError)
    statuses = [(await row_of(rig, task_id)).status for task_id in (*held, waiting)]
    assert statuses == [Status.COMPLETED, Status.ERROR, Status.PENDING, Status.CANCELLED]
    assert not any(isinstance(each, BaseException) for each in (done, failed, returned, cancelled))


async def test_a_known_id_does_not_fail_its_batch(rig: Rig) -> None:
    [known] = await enqueue(rig)
    tasks: list[NewTask] = [new_task(), new_task(id=known, owner="mallory"), new_task()]
    await asyncio.gather(*(rig.store.enqueue(task, None) for task in tasks), return_exceptions=True)
    assert (await row_of(rig, known)).owner == "local"
    assert [(await row_of(rig, task.id)).status for task in tasks] == [Status.PENDING] * 3


async def test_one_id_twice_at_once_is_one_row(rig: Rig) -> None:
    first = new_task()
    second = new_task(id=first.id, owner="mallory")
    await asyncio.gather(rig.store.enqueue(first, None), rig.store.enqueue(second, None), return_exceptions=True)
    assert (await row_of(rig, first.id)).owner == "local"


async def test_a_complete_before_a_cancel_wins(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    said, cancelled = await asyncio.gather(
        rig.store.complete(complete(worker.says(task_id))), rig.store.cancel(task_id)
    )
    assert said.verdict is Verdict.DONE
    assert (cancelled.status, cancelled.moved) == (Status.COMPLETED, None)
    assert len(await rig.reader.attempts(task_id)) == 1


@pytest.mark.parametrize("rig", sorted(RACING), indirect=True)
async def test_a_cancel_before_a_complete_wins(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    cancelled, said = await asyncio.gather(
        rig.store.cancel(task_id), rig.store.complete(complete(worker.says(task_id)))
    )
    assert cancelled.moved is not None
    assert (said.verdict, said.status) == (Verdict.CANCELLED, Status.CANCELLED)
    assert (await row_of(rig, task_id)).response_status is None
    assert len(await rig.reader.attempts(task_id)) == 1


@pytest.mark.parametrize("rig", sorted(RACING), indirect=True)
async def test_two_results_at_once_end_the_task_once(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await claimed(rig, worker)
    said = await asyncio.gather(
        rig.store.complete(complete(worker.says(task_id))),
        rig.store.complete(complete(worker.says(task_id))),
        rig.store.fail(fail(worker.says(task_id))),
        rig.store.retry(retry(worker.says(task_id))),
    )
    assert [each.verdict for each in said] == [Verdict.DONE, Verdict.REPEAT, Verdict.STALE, Verdict.STALE]
    assert (await row_of(rig, task_id)).status is Status.COMPLETED
    assert len(await rig.reader.attempts(task_id)) == 1


async def test_a_task_is_enqueued_with_its_first_attempt_returned_at_once(rig: Rig) -> None:
    worker = await registered(rig)
    task = new_task()
    made, returned, said = await asyncio.gather(
        rig.store.enqueue(task, worker.slot()),
        rig.store.give_back(worker.says(task.id)),
        rig.store.complete(complete(worker.says(task.id))),
    )
    assert (made.status, made.attempt) == (Status.CLAIMED, 1)
    assert (returned.verdict, said.verdict) == (Verdict.DONE, Verdict.STALE)
    assert (await row_of(rig, task.id)).status is Status.PENDING


async def test_a_start_rides_with_the_complete_that_follows_it(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await claimed(rig, worker)
    rig.store.start(worker.says(task_id))
    said = await rig.store.complete(complete(worker.says(task_id)))
    row = await row_of(rig, task_id)
    assert (said.verdict, row.status) == (Verdict.DONE, Status.COMPLETED)
    assert row.stream_started_at is not None


async def test_a_start_does_not_hold_up_a_retry(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await claimed(rig, worker)
    rig.store.start(worker.says(task_id))
    said = await rig.store.retry(retry(worker.says(task_id)))
    row = await row_of(rig, task_id)
    assert (said.verdict, row.status, row.stream_started_at) == (Verdict.DONE, Status.PENDING, None)


async def test_a_late_start_leaves_the_next_attempt_alone(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await claimed(rig, worker)
    await rig.store.give_back(worker.says(task_id))
    await worker.claim()
    rig.store.start(worker.says(task_id))
    await rig.flushed()
    row = await row_of(rig, task_id)
    assert (row.status, row.attempt, row.stream_started_at) == (Status.CLAIMED, 2, None)


@pytest.mark.parametrize("rig", sorted(RACING), indirect=True)
async def test_more_operations_than_one_batch_takes_are_all_done(rig: Rig) -> None:
    worker = await registered(rig)
    tasks = [new_task() for _ in range(1_200)]
    made = await asyncio.gather(*(rig.store.enqueue(task, worker.slot()) for task in tasks))
    assert {each.status for each in made} == {Status.CLAIMED}
    said = await asyncio.gather(*(rig.store.complete(complete(worker.says(task.id))) for task in tasks))
    assert {each.verdict for each in said} == {Verdict.DONE}


async def test_big_bodies_are_all_kept(rig: Rig) -> None:
    tasks = [new_task(request=bytes([at]) * 1_500_000) for at in range(8)]
    await asyncio.gather(*(rig.store.enqueue(task, None) for task in tasks))
    for task in tasks:
        stored = await rig.reader.task(task.id)
        assert stored is not None
        assert stored.request == task.request
