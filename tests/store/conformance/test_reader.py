"""Claims about what a reader finds: filters, pages, positions."""

import asyncio

import msgspec
import pytest

from inferpool.core.clock import MINUTE, SECOND
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.task import PendingTask, TaskFilter
from inferpool.store.access_protocol import AuditFilter
from tests.store.builders import (
    Rig,
    Worker,
    claimed,
    complete,
    ended,
    enqueue,
    new_task,
    offer,
    registered,
    retry,
    row_of,
    running,
)

pytestmark = pytest.mark.anyio


async def found(rig: Rig, which: TaskFilter, before: TaskId | None = None, limit: int = 100) -> list[TaskId]:
    return [row.id for row in await rig.reader.tasks(which, before, limit)]


async def test_tasks_are_listed_newest_first_a_page_at_a_time(rig: Rig) -> None:
    made = await enqueue(rig, 5)
    newest = made[::-1]
    assert await found(rig, TaskFilter()) == newest
    assert await found(rig, TaskFilter(), limit=2) == newest[:2]
    assert await found(rig, TaskFilter(), before=newest[1], limit=2) == newest[2:4]
    assert await found(rig, TaskFilter(), before=newest[4]) == []


async def test_a_listed_row_is_the_stored_row(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    [row] = await rig.reader.tasks(TaskFilter(), None, 10)
    stored = await rig.reader.task(task_id)
    assert stored is not None
    assert row == stored.row == await row_of(rig, task_id)


async def test_filters_are_joined_by_and(rig: Rig) -> None:
    mine = new_task(owner="ann", agent="clerk")
    for task in (mine, new_task(owner="ann"), new_task(owner="bob", agent="clerk")):
        await rig.store.enqueue(task, None)
    assert await found(rig, TaskFilter(owner="ann", agent="clerk")) == [mine.id]
    assert len(await found(rig, TaskFilter(owner="ann"))) == 2
    assert len(await found(rig, TaskFilter(agent="clerk"))) == 2
    assert await found(rig, TaskFilter(owner="carol")) == []


async def test_an_owners_tasks_come_a_page_at_a_time(rig: Rig) -> None:
    tasks = [new_task(owner=owner) for owner in ("ann", "bob", "ann", "ann")]
    for task in tasks:
        await rig.store.enqueue(task, None)
    which = TaskFilter(owner="ann")
    assert await found(rig, which, limit=2) == [tasks[3].id, tasks[2].id]
    assert await found(rig, which, before=tasks[2].id) == [tasks[0].id]


async def test_no_list_or_position_reads_more_than_its_bound(rig: Rig) -> None:
    needle = new_task(agent="clerk")
    await rig.store.enqueue(needle, None)
    made = [new_task() for _ in range(10_000)]
    for start in range(0, len(made), 5_000):
        await asyncio.gather(*(rig.store.enqueue(task, None) for task in made[start : start + 5_000]))
    for which in (TaskFilter(agent="clerk"), TaskFilter(agent="clerk", owner="local")):
        assert await found(rig, which) == []
        assert await found(rig, which, before=made[-1].id) == [needle.id]
    assert await rig.reader.position(made[998].id) == 1_000
    assert await rig.reader.position(made[-1].id) == 1_000


async def test_tasks_are_found_by_several_statuses(rig: Rig) -> None:
    worker = await registered(rig)
    [pending] = await enqueue(rig)
    held, begun = await claimed(rig, worker), await running(rig, worker)
    done = await ended(rig, worker, Status.COMPLETED)
    failed, cancelled = await ended(rig, worker, Status.ERROR), await ended(rig, worker, Status.CANCELLED)
    assert await found(rig, TaskFilter(statuses=[Status.PENDING])) == [pending]
    assert await found(rig, TaskFilter(statuses=[Status.CLAIMED, Status.RUNNING])) == [begun, held]
    assert await found(rig, TaskFilter(statuses=[Status.COMPLETED, Status.ERROR, Status.CANCELLED])) == [
        cancelled,
        failed,
        done,
    ]


async def test_tasks_are_found_by_pool_or_llm(rig: Rig) -> None:
    pool, pinned, tier = new_task("pool:llama"), new_task("llm:llama@a"), new_task("tier:large")
    for task in (pool, pinned, tier):
        await rig.store.enqueue(task, None)
    assert await found(rig, TaskFilter(pool="llama")) == [pool.id]
    assert await found(rig, TaskFilter(llm="llama@a")) == [pinned.id]


async def test_tasks_are_found_by_the_time_of_their_making(rig: Rig) -> None:
    made = []
    for _ in range(3):
        made += await enqueue(rig)
        rig.later(MINUTE)
    times = [(await row_of(rig, task_id)).created_at for task_id in made]
    assert await found(rig, TaskFilter(from_us=times[1])) == [made[2], made[1]]
    assert await found(rig, TaskFilter(to_us=times[1])) == [made[0]]
    assert await found(rig, TaskFilter(from_us=times[1], to_us=times[2])) == [made[1]]


async def test_what_is_not_there_is_none(rig: Rig) -> None:
    stranger = new_task().id
    assert await rig.reader.task(stranger) is None
    assert await rig.reader.row(stranger) is None
    assert await rig.reader.attempts(stranger) == []
    assert await rig.reader.chunks(stranger) is None
    assert await rig.reader.position(stranger) is None
    worker = Worker(rig)
    assert await rig.reader.session(worker.id) is None
    assert await rig.reader.secret_hash(worker.id) is None


async def test_a_position_counts_who_stands_before_it(rig: Rig) -> None:
    worker = await registered(rig)
    tasks = [new_task(rank=rank) for rank in (2.0, 1.0, 2.0)]
    for task in (*tasks, new_task("pool:llama", rank=0.5)):
        await rig.store.enqueue(task, None)
    assert [await rig.reader.position(task.id) for task in tasks] == [2, 1, 3]
    await worker.claim(free=1)
    assert [await rig.reader.position(task.id) for task in tasks] == [1, None, 2]


async def test_a_task_in_its_back_off_stands_before_nobody(rig: Rig) -> None:
    worker = await registered(rig)
    first = await running(rig, worker)
    await rig.store.retry(retry(worker.says(first), delay=MINUTE))
    second = new_task(rank=2.0)
    await rig.store.enqueue(second, None)
    assert await rig.reader.position(second.id) == 1
    assert await rig.reader.position(first) == 1


async def test_waiting_tasks_are_read_back_a_page_at_a_time(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.retry(retry(worker.says(task_id), delay=MINUTE))
    await claimed(rig, worker)
    await ended(rig, worker, Status.CANCELLED)
    task = new_task("tier:large", owner="ann", priority="flex", rank=7.5, request=b"12345")
    await rig.store.enqueue(task, None)
    first = await rig.reader.pending(None, 1)
    assert [(each.task_id, each.ready) for each in first] == [(task_id, False)]
    second = await rig.reader.pending(first[0].task_id, 10)
    assert second == [
        PendingTask(task_id=task.id, lane="tier:large", owner="ann", priority="flex", rank=7.5, size=5, ready=True)
    ]
    assert await rig.reader.pending(task.id, 10) == []


async def test_only_lanes_with_a_ready_task_wait(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await enqueue(rig, 3, lane="pool:llama")
    await enqueue(rig, 1, lane="tier:large")
    lanes = ["pool:qwen", "pool:llama", "pool:nobody"]
    assert await rig.reader.waiting_lanes(lanes) == ["pool:llama"]
    await rig.store.retry(retry(worker.says(task_id), delay=SECOND))
    assert await rig.reader.waiting_lanes(lanes) == ["pool:llama"]
    rig.later(2 * SECOND)
    await rig.store.make_ready(10)
    assert sorted(await rig.reader.waiting_lanes(lanes)) == ["pool:llama", "pool:qwen"]
    assert await rig.reader.waiting_lanes([]) == []


async def test_the_earliest_of_a_lanes_first_tasks_tells_the_lanes_age(rig: Rig) -> None:
    made = []
    for rank in (2.0, 1.0, 3.0):
        made.append(new_task(rank=rank))
        await rig.store.enqueue(made[-1], None)
        rig.later(SECOND)
    times = [(await row_of(rig, task.id)).created_at for task in made]
    lanes = ["pool:nobody", made[0].routing.lane]
    assert await rig.reader.oldest(lanes, 3) == [(lanes[1], times[0])]
    assert await rig.reader.oldest(lanes, 1) == [(lanes[1], times[1])]
    assert await rig.reader.oldest([], 1) == []


async def test_llms_are_listed_by_name_a_page_at_a_time(rig: Rig) -> None:
    await Worker(rig).register(llms=[offer(name) for name in ("c", "a", "hf.co/x/y:Q4@box", "b")])
    names = ["a", "b", "c", "hf.co/x/y:Q4@box"]
    assert [llm.name for llm in await rig.reader.llms(None, 10)] == names
    assert [llm.name for llm in await rig.reader.llms("a", 2)] == names[1:3]
    assert await rig.reader.llms(names[-1], 10) == []


async def test_sessions_are_listed_newest_first_a_page_at_a_time(rig: Rig) -> None:
    workers = [await registered(rig, name) for name in "abc"]
    newest = [worker.id for worker in workers[::-1]]
    assert [session.id for session in await rig.reader.sessions(None, 10)] == newest
    assert [session.id for session in await rig.reader.sessions(newest[0], 1)] == newest[1:2]
    one = await rig.reader.session(newest[0])
    assert one is not None
    assert (await rig.reader.sessions(None, 1)) == [one]
    other = Worker(rig, "d")
    other.subject = "ann"
    await other.register()
    assert [session.id for session in await rig.reader.sessions(None, 10, "ann")] == [other.id]
    assert [session.id for session in await rig.reader.sessions(None, 10, "local")] == newest
    assert await rig.reader.sessions(None, 10, "bob") == []
    assert "hash" not in repr(msgspec.to_builtins(one))


async def test_a_streams_chunks_come_with_the_attempt_that_won(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.retry(retry(worker.says(task_id)))
    await rig.store.make_ready(10)
    await worker.claim()
    await rig.store.complete(complete(worker.says(task_id, 2), chunks=b"\x00packed\xff"))
    assert await rig.reader.chunks(task_id) == (2, b"\x00packed\xff")


async def test_the_history_is_read_in_the_order_of_the_attempts(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await claimed(rig, worker)
    for attempt in range(1, 12):
        await rig.store.give_back(worker.says(task_id, attempt))
        await worker.claim()
    assert [line.attempt for line in await rig.reader.attempts(task_id)] == list(range(1, 12))


@pytest.mark.parametrize(
    "which",
    [
        TaskFilter(pool="a\0"),
        TaskFilter(llm="\0"),
        TaskFilter(agent="\0"),
        TaskFilter(owner="\0"),
        TaskFilter(to_us=2**70),
    ],
)
async def test_what_a_database_could_never_hold_is_found_in_no_row(rig: Rig, which: TaskFilter) -> None:
    await enqueue(rig, 1)
    assert await found(rig, which) == []
    assert await rig.reader.row(TaskId("\0")) is None
    assert await rig.reader.audit(AuditFilter(subject="\0"), None, 10) == []
