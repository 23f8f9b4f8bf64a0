"""Claims about enqueueing: durable rows, rows inserted already claimed, idempotency keys."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from inferpool.core.clock import DAY, HOUR
from inferpool.core.errors import Conflict, NotFound
from inferpool.core.ids import SessionId
from inferpool.core.lifecycle import Status
from inferpool.core.task import ClaimFor
from inferpool.store.protocol import Enqueued, Verdict
from tests.store.builders import (
    SECOND_SERVER,
    Rig,
    Worker,
    complete,
    ended,
    enqueue,
    fail,
    new_id,
    new_task,
    registered,
    row_of,
)
from tests.store.rigs import RACING

pytestmark = pytest.mark.anyio


async def test_a_task_is_pending_once_it_is_enqueued(rig: Rig) -> None:
    task = new_task()
    made = await rig.store.enqueue(task, None)
    assert made == Enqueued(task_id=task.id, status=Status.PENDING, created=True, attempt=0)


async def test_a_task_can_be_inserted_already_claimed(rig: Rig) -> None:
    worker = await registered(rig)
    task, slot = new_task(), worker.slot()
    made = await rig.store.enqueue(task, slot)
    assert made == Enqueued(task_id=task.id, status=Status.CLAIMED, created=True, attempt=1)
    row = await row_of(rig, task.id)
    assert (row.claimed_by, row.claimed_llm, row.claim_batch) == (worker.id, worker.llm, slot.batch)
    assert (row.attempt, row.tries, row.ready) == (1, 0, True)
    assert row.claimed_at is not None
    assert row.deadline == row.claimed_at + HOUR
    said = await rig.store.complete(complete(worker.says(task.id)))
    assert said.verdict is Verdict.DONE


def stale_epoch(slot: ClaimFor) -> ClaimFor:
    return msgspec.structs.replace(slot, epoch=slot.epoch - 1)


def at_another_server(slot: ClaimFor) -> ClaimFor:
    return msgspec.structs.replace(slot, server_id=SECOND_SERVER)


def of_nobody(slot: ClaimFor) -> ClaimFor:
    return msgspec.structs.replace(slot, session_id=SessionId(new_id()))


@pytest.mark.parametrize("change", [stale_epoch, at_another_server, of_nobody])
async def test_a_task_for_a_session_that_moved_waits(rig: Rig, change: Callable[[ClaimFor], ClaimFor]) -> None:
    worker = await registered(rig)
    made = await rig.store.enqueue(new_task(), change(worker.slot()))
    assert (made.status, made.created, made.attempt) == (Status.PENDING, True, 0)
    assert (await row_of(rig, made.task_id)).claimed_by is None


async def test_a_task_for_a_leaving_session_waits(rig: Rig) -> None:
    worker = await registered(rig)
    await rig.store.leave(worker.id, worker.epoch)
    assert (await rig.store.enqueue(new_task(), worker.slot())).status is Status.PENDING


async def test_a_task_for_an_inactive_session_waits(rig: Rig) -> None:
    worker = await registered(rig)
    await worker.lose()
    assert (await rig.store.enqueue(new_task(), worker.slot())).status is Status.PENDING


async def test_a_repeat_attaches_to_the_same_task(rig: Rig) -> None:
    worker = await registered(rig)
    task = new_task(key="k")
    first = await rig.store.enqueue(task, None)
    again = await rig.store.enqueue(new_task(key="k"), None)
    assert again == Enqueued(task_id=task.id, status=Status.PENDING, created=False, attempt=0)
    await worker.claim()
    await rig.store.complete(complete(worker.says(first.task_id)))
    done = await rig.store.enqueue(new_task(key="k"), worker.slot())
    assert done == Enqueued(task_id=task.id, status=Status.COMPLETED, created=False, attempt=1)
    assert len(await rig.reader.pending(None, 10)) == 0


@pytest.mark.parametrize("rig", sorted(RACING), indirect=True)
async def test_a_repeat_that_races_its_first_makes_one_task(rig: Rig) -> None:
    worker = await registered(rig)
    made = await asyncio.gather(*(rig.store.enqueue(new_task(key="k"), worker.slot()) for _ in range(20)))
    assert len({each.task_id for each in made}) == 1
    assert sum(each.created for each in made) == 1


async def test_the_same_key_with_another_body_is_a_conflict(rig: Rig) -> None:
    await rig.store.enqueue(new_task(key="k"), None)
    with pytest.raises(Conflict):
        await rig.store.enqueue(new_task(key="k", request=b"{}"), None)
    assert len(await rig.reader.pending(None, 10)) == 1


async def test_a_key_belongs_to_its_owner(rig: Rig) -> None:
    first = await rig.store.enqueue(new_task(key="k", owner="ann"), None)
    second = await rig.store.enqueue(new_task(key="k", owner="bob", request=b"{}"), None)
    assert second.created
    assert first.task_id != second.task_id


async def keyed(rig: Rig, worker: Worker) -> Enqueued:
    """A claimed task under the key `k`."""
    made = await rig.store.enqueue(new_task(key="k"), worker.slot())
    assert made.created
    return made


async def test_a_key_is_free_again_after_an_error(rig: Rig) -> None:
    worker = await registered(rig)
    first = await keyed(rig, worker)
    await rig.store.fail(fail(worker.says(first.task_id)))
    assert (await keyed(rig, worker)).task_id != first.task_id


async def test_a_key_is_free_again_after_a_cancel(rig: Rig) -> None:
    worker = await registered(rig)
    first = await keyed(rig, worker)
    await rig.store.cancel(first.task_id)
    assert (await keyed(rig, worker)).task_id != first.task_id


async def test_a_key_is_free_again_after_a_purge(rig: Rig) -> None:
    worker = await registered(rig)
    first = await keyed(rig, worker)
    await rig.store.complete(complete(worker.says(first.task_id)))
    await rig.store.purge(first.task_id)
    assert (await keyed(rig, worker)).task_id != first.task_id


async def test_a_key_is_free_again_after_its_task_expired(rig: Rig) -> None:
    worker = await registered(rig)
    first = await rig.store.enqueue(new_task(key="k"), None)
    rig.later(2 * HOUR)
    await rig.store.expire(10)
    assert (await keyed(rig, worker)).task_id != first.task_id


async def test_a_freed_key_may_come_with_another_body(rig: Rig) -> None:
    first = await rig.store.enqueue(new_task(key="k"), None)
    await rig.store.cancel(first.task_id)
    assert (await rig.store.enqueue(new_task(key="k", request=b"{}"), None)).created


async def test_a_replay_does_not_take_its_key_back(rig: Rig) -> None:
    worker = await registered(rig)
    first = await keyed(rig, worker)
    await rig.store.cancel(first.task_id)
    second = await keyed(rig, worker)
    await rig.store.replay(first.task_id, 2.0, HOUR)
    again = await rig.store.enqueue(new_task(key="k"), None)
    assert (again.task_id, again.created) == (second.task_id, False)


async def test_a_replayed_task_holds_no_key(rig: Rig) -> None:
    worker = await registered(rig)
    first = await keyed(rig, worker)
    await rig.store.cancel(first.task_id)
    await rig.store.replay(first.task_id, 2.0, HOUR)
    assert (await keyed(rig, worker)).task_id != first.task_id


async def test_a_key_is_kept_for_its_age_by_the_databases_clock(rig: Rig) -> None:
    first = await rig.store.enqueue(new_task(key="k", expires_in=2 * DAY), None)
    rig.later(DAY - HOUR)
    assert await rig.store.delete_keys(DAY, 10) == 0
    assert (await rig.store.enqueue(new_task(key="k"), None)).task_id == first.task_id
    rig.later(HOUR)
    assert await rig.store.delete_keys(DAY, 10) == 1
    assert (await rig.store.enqueue(new_task(key="k"), None)).created


async def test_a_key_stands_no_longer_than_a_day_even_before_the_sweep(rig: Rig) -> None:
    first = await rig.store.enqueue(new_task(key="k", expires_in=2 * DAY), None)
    rig.later(DAY)
    second = await rig.store.enqueue(new_task(key="k"), None)
    assert second.created
    assert second.task_id != first.task_id
    assert await rig.store.delete_keys(DAY, 10) == 0


async def test_no_more_than_the_limit_of_keys_are_deleted_at_once(rig: Rig) -> None:
    for key in "abcde":
        await rig.store.enqueue(new_task(key=key), None)
    rig.later(DAY)
    assert [await rig.store.delete_keys(DAY, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_known_id_never_changes_its_row(rig: Rig) -> None:
    [task_id] = await enqueue(rig)
    before = await rig.reader.task(task_id)
    thief = msgspec.structs.replace(new_task("pool:other", owner="mallory", request=b"x"), id=task_id)
    await asyncio.gather(rig.store.enqueue(thief, None), return_exceptions=True)
    assert await rig.reader.task(task_id) == before


@pytest.mark.parametrize("status", [Status.ERROR, Status.CANCELLED])
async def test_a_replay_queues_anew(rig: Rig, status: Status) -> None:
    worker = await registered(rig)
    task_id = await ended(rig, worker, status)
    moved = await rig.store.replay(task_id, 42.0, 3 * HOUR)
    stored = await rig.reader.task(task_id)
    assert stored is not None
    row = stored.row
    assert (row.status, row.rank, row.tries, row.attempt, row.ready) == (Status.PENDING, 42.0, 0, 1, True)
    assert (row.response_status, row.response_content_type, stored.response) == (None, None, None)
    assert (row.error_code, row.error_message, row.prompt_tokens, row.completed_at) == (None, None, None, None)
    assert (row.claimed_at, row.deadline, row.stream_started_at) == (None, None, None)
    assert row.expires_at >= row.created_at + 3 * HOUR
    assert (moved.task_id, moved.status, moved.rank, moved.lane, moved.ready) == (
        task_id,
        row.status,
        42.0,
        row.lane,
        True,
    )
    assert [taken.attempt for taken in await worker.claim()] == [2]


async def test_a_replay_of_a_live_or_completed_task_is_a_conflict(rig: Rig) -> None:
    worker = await registered(rig)
    [pending] = await enqueue(rig)
    for task_id in (pending, await ended(rig, worker, Status.COMPLETED)):
        with pytest.raises(Conflict):
            await rig.store.replay(task_id, 2.0, HOUR)
    with pytest.raises(NotFound):
        await rig.store.replay(new_task().id, 2.0, HOUR)


async def test_a_purge_removes_the_task_with_all_that_belongs_to_it(rig: Rig) -> None:
    worker = await registered(rig)
    made = await keyed(rig, worker)
    await rig.store.complete(complete(worker.says(made.task_id), chunks=b"packed"))
    await rig.store.purge(made.task_id)
    assert await rig.reader.task(made.task_id) is None
    assert await rig.reader.attempts(made.task_id) == []
    assert await rig.reader.chunks(made.task_id) is None


async def test_only_an_ended_task_can_be_purged(rig: Rig) -> None:
    [task_id] = await enqueue(rig)
    with pytest.raises(Conflict):
        await rig.store.purge(task_id)
    with pytest.raises(NotFound):
        await rig.store.purge(new_task().id)
