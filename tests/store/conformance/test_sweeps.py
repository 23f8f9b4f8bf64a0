"""Claims about the rules that move rows by the database's clock, each run again to no effect."""

import pytest

from inferpool.core.clock import HOUR, MINUTE, SECOND
from inferpool.core.errors import Code
from inferpool.core.ids import SessionId, TaskId
from inferpool.core.lifecycle import Ending, Status
from inferpool.core.llm import LlmStatus
from inferpool.core.task import QueueMode
from tests.store.builders import (
    SERVER,
    Rig,
    Worker,
    claimed,
    enqueue,
    kept_llm,
    new_task,
    offer,
    registered,
    retry,
    row_of,
    running,
)

pytestmark = pytest.mark.anyio


async def backing_off(rig: Rig, worker: Worker, seconds: int) -> TaskId:
    """A task that waits that long for its next try."""
    task_id = await running(rig, worker)
    await rig.store.retry(retry(worker.says(task_id), delay=seconds * SECOND))
    return task_id


async def test_a_task_is_ready_once_its_back_off_is_over(rig: Rig) -> None:
    worker = await registered(rig)
    soon, late = await backing_off(rig, worker, 5), await backing_off(rig, worker, 500)
    assert await rig.store.make_ready(10) == []
    rig.later(6 * SECOND)
    [moved] = await rig.store.make_ready(10)
    assert (moved.task_id, moved.status, moved.attempt, moved.ready) == (soon, Status.PENDING, 1, True)
    assert (moved.lane, moved.owner, moved.priority, moved.rank) == ("pool:qwen", "local", "default", 1.0)
    assert moved.session_id is None
    assert ((await row_of(rig, soon)).ready, (await row_of(rig, late)).ready) == (True, False)
    assert await rig.store.make_ready(10) == []
    assert [taken.task_id for taken in await worker.claim()] == [soon]


async def test_no_more_than_the_limit_become_ready(rig: Rig) -> None:
    worker = await registered(rig)
    waiting = {await backing_off(rig, worker, 1) for _ in range(5)}
    rig.later(2 * SECOND)
    steps = [await rig.store.make_ready(2) for _ in range(4)]
    assert [len(step) for step in steps] == [2, 2, 1, 0]
    assert {moved.task_id for step in steps for moved in step} == waiting


async def test_a_pending_task_expires_by_its_own_time(rig: Rig) -> None:
    short, long = new_task(expires_in=MINUTE), new_task(expires_in=2 * MINUTE)
    for task in (short, long):
        await rig.store.enqueue(task, None)
    assert await rig.store.expire(10) == []
    rig.later(MINUTE + SECOND)
    [moved] = await rig.store.expire(10)
    assert (moved.task_id, moved.status, moved.attempt, moved.session_id) == (short.id, Status.ERROR, 0, None)
    row = await row_of(rig, short.id)
    assert (row.status, row.error_code) == (Status.ERROR, Code.EXPIRED)
    assert row.error_message == "expired in pending state after 60 s"
    assert row.completed_at is not None
    assert await rig.store.expire(10) == []
    assert (await row_of(rig, long.id)).status is Status.PENDING


async def test_a_task_in_its_back_off_expires_too(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await backing_off(rig, worker, 10_000)
    rig.later(2 * HOUR)
    assert [moved.task_id for moved in await rig.store.expire(10)] == [task_id]
    assert (await row_of(rig, task_id)).ready


async def test_a_held_task_does_not_expire(rig: Rig) -> None:
    worker = await registered(rig)
    task_ids = [await claimed(rig, worker), await running(rig, worker)]
    rig.later(2 * HOUR)
    assert await rig.store.expire(10) == []
    assert [(await row_of(rig, task_id)).status for task_id in task_ids] == [Status.CLAIMED, Status.RUNNING]


async def test_a_task_that_its_lost_worker_may_still_deliver_does_not_expire(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await worker.lose()
    rig.later(2 * HOUR)
    assert await rig.store.expire(10) == []
    await worker.register()
    assert [moved.task_id for moved in await rig.store.expire(10)] == [task_id]


async def test_no_more_than_the_limit_expire(rig: Rig) -> None:
    await enqueue(rig, 5)
    rig.later(2 * HOUR)
    assert [len(await rig.store.expire(2)) for _ in range(4)] == [2, 2, 1, 0]


async def test_an_attempt_past_its_deadline_ends_the_task(rig: Rig) -> None:
    worker = await registered(rig)
    await enqueue(rig, 3)
    [slow] = await worker.claim(free=1, run_limit=MINUTE)
    [fine] = await worker.claim(free=1, run_limit=HOUR)
    assert await rig.store.end_overdue(10) == []
    rig.later(MINUTE + SECOND)
    [moved] = await rig.store.end_overdue(10)
    assert (moved.task_id, moved.status, moved.attempt, moved.session_id) == (slow.task_id, Status.ERROR, 1, worker.id)
    row = await row_of(rig, slow.task_id)
    assert (row.status, row.error_code, row.tries, row.claimed_by) == (Status.ERROR, Code.ENGINE_TIMEOUT, 0, None)
    [line] = await rig.reader.attempts(slow.task_id)
    assert line.ending is Ending.FAILED
    assert await rig.store.end_overdue(10) == []
    assert (await row_of(rig, fine.task_id)).status is Status.CLAIMED


async def test_no_more_than_the_limit_are_overdue_at_once(rig: Rig) -> None:
    worker = await registered(rig)
    for _ in range(5):
        await running(rig, worker)
    rig.later(2 * HOUR)
    assert [len(await rig.store.end_overdue(2)) for _ in range(4)] == [2, 2, 1, 0]


@pytest.mark.parametrize("mode", [QueueMode.LIVE, QueueMode.NEVER])
@pytest.mark.parametrize("lane", ["pool:qwen", "llm:qwen@a", "tier:large"])
async def test_an_impatient_task_ends_once_no_live_llm_could_serve_it(rig: Rig, mode: QueueMode, lane: str) -> None:
    worker = Worker(rig)
    await worker.register(llms=[offer(worker.llm, tier="large")])
    task = new_task(lane, mode=mode, max_tries=1)
    await rig.store.enqueue(task, None)
    assert await rig.store.end_unserved(10) == []
    await worker.lose()
    [moved] = await rig.store.end_unserved(10)
    assert (moved.task_id, moved.status) == (task.id, Status.ERROR)
    row = await row_of(rig, task.id)
    assert (row.status, row.error_code, row.lost_by) == (Status.ERROR, Code.LLM_UNAVAILABLE, None)
    assert await rig.store.end_unserved(10) == []


async def test_a_task_that_queues_waits_for_whoever_comes(rig: Rig) -> None:
    [task_id] = await enqueue(rig)
    assert await rig.store.end_unserved(10) == []
    assert (await row_of(rig, task_id)).status is Status.PENDING


async def test_an_llm_of_another_pool_does_not_serve_it(rig: Rig) -> None:
    await Worker(rig).register(llms=[offer("x@a", pool_name="x", tier="small")])
    tasks = [
        new_task(lane, mode=QueueMode.LIVE) for lane in ("pool:qwen", "llm:qwen@a", "tier:large", "pool:x", "llm:x@a")
    ]
    for task in tasks:
        await rig.store.enqueue(task, None)
    moved = await rig.store.end_unserved(10)
    assert {each.task_id for each in moved} == {task.id for task in tasks[:3]}


async def test_an_llm_without_a_pool_name_serves_its_own_pool(rig: Rig) -> None:
    await Worker(rig).register(llms=[offer("solo", pool_name=None)])
    await rig.store.enqueue(new_task("pool:solo", mode=QueueMode.LIVE), None)
    assert await rig.store.end_unserved(10) == []


async def test_a_hibernating_llm_is_live(rig: Rig) -> None:
    await Worker(rig).register(llms=[offer("qwen@a", status=LlmStatus.HIBERNATING)])
    await rig.store.enqueue(new_task(mode=QueueMode.LIVE), None)
    assert await rig.store.end_unserved(10) == []


async def test_a_leaving_session_is_not_live(rig: Rig) -> None:
    worker = await registered(rig)
    await rig.store.enqueue(new_task(mode=QueueMode.LIVE), None)
    await rig.store.leave(worker.id, None)
    assert len(await rig.store.end_unserved(10)) == 1


async def test_a_held_task_is_served(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker, max_tries=1, mode=QueueMode.LIVE)
    await rig.store.leave(worker.id, None)
    assert await rig.store.end_unserved(10) == []
    assert (await row_of(rig, task_id)).status is Status.RUNNING


async def test_a_sibling_serves_an_impatient_task_of_the_pool(rig: Rig) -> None:
    worker = await registered(rig)
    await registered(rig, "b")
    await rig.store.enqueue(new_task(mode=QueueMode.LIVE), None)
    await worker.lose()
    assert await rig.store.end_unserved(10) == []


async def test_no_more_than_the_limit_are_unserved_at_once(rig: Rig) -> None:
    for _ in range(5):
        await rig.store.enqueue(new_task(mode=QueueMode.NEVER), None)
    assert [len(await rig.store.end_unserved(2)) for _ in range(4)] == [2, 2, 1, 0]


async def active(rig: Rig, session_id: SessionId) -> bool:
    session = await rig.reader.session(session_id)
    assert session is not None
    return session.active


async def test_a_silent_session_is_lost(rig: Rig) -> None:
    silent, heard = await registered(rig), await registered(rig, "b")
    task_id = await running(rig, silent)
    assert await rig.store.deactivate_silent(MINUTE, 10) == []
    rig.later(MINUTE + SECOND)
    await rig.store.beat(SERVER, [heard.id])
    [moved] = await rig.store.deactivate_silent(MINUTE, 10)
    assert (moved.task_id, moved.status, moved.session_id) == (task_id, Status.PENDING, silent.id)
    row = await row_of(rig, task_id)
    assert (row.tries, row.lost_by) == (1, silent.id)
    assert (await active(rig, silent.id), await active(rig, heard.id)) == (False, True)
    llm = await kept_llm(rig.reader, silent.llm)
    assert llm is not None
    assert llm.status is LlmStatus.INACTIVE
    assert await rig.store.deactivate_silent(MINUTE, 10) == []


async def test_no_more_than_the_limit_of_sessions_are_lost_at_once(rig: Rig) -> None:
    workers = [await registered(rig, name) for name in "abcde"]
    rig.later(2 * MINUTE)
    counts = []
    for _ in range(4):
        await rig.store.deactivate_silent(MINUTE, 2)
        counts.append(sum([await active(rig, worker.id) for worker in workers]))
    assert counts == [3, 1, 0, 0]
