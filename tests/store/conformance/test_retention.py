"""Claims about what is deleted with age, with the lanes' clocks that are kept."""

import pytest

from inferpool.core.clock import DAY, HOUR, MINUTE, SECOND
from inferpool.core.lifecycle import Status
from tests.store.builders import SERVER, Rig, complete, ended, enqueue, kept_llm, registered, row_of, running

pytestmark = pytest.mark.anyio


async def test_a_session_is_forgotten_when_it_was_inactive_for_long(rig: Rig) -> None:
    gone, kept = await registered(rig), await registered(rig, "b")
    task_id = await running(rig, gone)
    await gone.lose()
    assert await rig.store.forget_sessions(4 * HOUR, 10) == 0
    rig.later(4 * HOUR + SECOND)
    await rig.store.beat(SERVER, [kept.id])
    assert await rig.store.forget_sessions(4 * HOUR, 10) == 1
    assert await rig.reader.session(gone.id) is None
    assert await kept_llm(rig.reader, gone.llm) is None
    assert await rig.reader.session(kept.id) is not None
    assert await kept_llm(rig.reader, kept.llm) is not None
    row = await row_of(rig, task_id)
    assert (row.status, row.lost_by) == (Status.PENDING, None)
    assert await rig.store.forget_sessions(4 * HOUR, 10) == 0


async def test_an_active_session_is_never_forgotten(rig: Rig) -> None:
    worker = await registered(rig)
    rig.later(DAY)
    assert await rig.store.forget_sessions(HOUR, 10) == 0
    assert await rig.reader.session(worker.id) is not None


async def test_a_session_that_came_back_is_not_forgotten(rig: Rig) -> None:
    worker = await registered(rig)
    await worker.lose()
    rig.later(DAY)
    await worker.register()
    assert await rig.store.forget_sessions(HOUR, 10) == 0


async def test_no_more_than_the_limit_of_sessions_are_forgotten_at_once(rig: Rig) -> None:
    for name in "abcde":
        await (await registered(rig, name)).lose()
    rig.later(DAY)
    assert [await rig.store.forget_sessions(HOUR, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_forgotten_session_may_register_anew(rig: Rig) -> None:
    worker = await registered(rig)
    await worker.lose()
    rig.later(DAY)
    await rig.store.forget_sessions(HOUR, 10)
    assert (await worker.register()).epoch == 2


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.ERROR, Status.CANCELLED])
async def test_an_ended_task_is_deleted_with_its_history(rig: Rig, status: Status) -> None:
    worker = await registered(rig)
    old = await ended(rig, worker, status)
    rig.later(8 * DAY)
    young = await ended(rig, worker, status)
    assert await rig.store.delete_ended(7 * DAY, 10) == 1
    assert await rig.reader.task(old) is None
    assert await rig.reader.attempts(old) == []
    assert await rig.reader.task(young) is not None
    assert await rig.store.delete_ended(7 * DAY, 10) == 0


async def test_a_live_task_is_never_deleted(rig: Rig) -> None:
    worker = await registered(rig)
    task_ids = [await running(rig, worker), *await enqueue(rig)]
    rig.later(30 * DAY)
    assert await rig.store.delete_ended(DAY, 10) == 0
    assert [(await row_of(rig, task_id)).status for task_id in task_ids] == [Status.RUNNING, Status.PENDING]


async def test_no_more_than_the_limit_of_tasks_are_deleted_at_once(rig: Rig) -> None:
    worker = await registered(rig)
    for _ in range(5):
        await ended(rig, worker, Status.COMPLETED)
    rig.later(30 * DAY)
    assert [await rig.store.delete_ended(DAY, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_tasks_age_counts_from_its_end(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    rig.later(8 * DAY)
    await rig.store.complete(complete(worker.says(task_id)))
    assert await rig.store.delete_ended(7 * DAY, 10) == 0


async def test_chunks_are_kept_for_their_own_age(rig: Rig) -> None:
    worker = await registered(rig)
    first, second = await running(rig, worker), await running(rig, worker)
    await rig.store.complete(complete(worker.says(first), chunks=b"first"))
    rig.later(HOUR + MINUTE)
    await rig.store.complete(complete(worker.says(second), chunks=b"second"))
    assert await rig.store.delete_chunks(HOUR, 10) == 1
    assert await rig.reader.chunks(first) is None
    assert await rig.reader.chunks(second) == (1, b"second")
    assert (await row_of(rig, first)).status is Status.COMPLETED
    assert await rig.store.delete_chunks(HOUR, 10) == 0


async def test_no_more_than_the_limit_of_streams_are_deleted_at_once(rig: Rig) -> None:
    worker = await registered(rig)
    for _ in range(5):
        await rig.store.complete(complete(worker.says(await running(rig, worker)), chunks=b"packed"))
    rig.later(DAY)
    assert [await rig.store.delete_chunks(HOUR, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_deleting_a_task_deletes_its_chunks(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.complete(complete(worker.says(task_id), chunks=b"packed"))
    rig.later(DAY)
    await rig.store.delete_ended(HOUR, 10)
    assert await rig.reader.chunks(task_id) is None
    assert await rig.store.delete_chunks(HOUR, 10) == 0


async def test_a_lanes_clock_never_falls(rig: Rig) -> None:
    await rig.store.write_clocks([("pool:a", 5.0), ("pool:b", 1.5)])
    await rig.store.write_clocks([("pool:a", 3.0), ("pool:b", 2.0), ("pool:c", 0.5)])
    assert dict(await rig.reader.clocks()) == {"pool:a": 5.0, "pool:b": 2.0, "pool:c": 0.5}


async def test_no_clocks_are_nothing_to_write(rig: Rig) -> None:
    await rig.store.write_clocks([])
    assert list(await rig.reader.clocks()) == []
