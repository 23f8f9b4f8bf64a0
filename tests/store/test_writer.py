"""The writer: what shares a commit, what waits for the next, what is refused."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from inferpool.core import failpoints
from inferpool.core.errors import InvalidRequest, StoreUnavailable
from inferpool.core.ids import ServerId, TaskId
from inferpool.core.lifecycle import Status
from inferpool.store import writer as writing
from inferpool.store.operations import Single
from inferpool.store.protocol import Completion, Verdict
from inferpool.store.runners import ThreadRunner
from inferpool.store.sessions import leave
from inferpool.store.sql import SqlStore
from tests.store.benches import SESSION, bench, registered, spoken
from tests.store.builders import ANSWER, SERVER, new_id, new_task
from tests.store.stores import opened_sqlite

pytestmark = pytest.mark.anyio


async def turn_of_the_loop() -> None:
    """Let everything run that is ready to."""
    loop = asyncio.get_running_loop()
    turned = loop.create_future()
    loop.call_soon(turned.set_result, None)
    await turned


async def test_what_waits_together_shares_one_commit(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await asyncio.gather(*(at.store.enqueue(new_task(), None) for _ in range(100)))
        assert at.commits == 1


async def test_what_a_busy_loop_brings_a_round_later_shares_the_commit(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        first = at.store.enqueue(new_task(), None)
        await turn_of_the_loop()
        await asyncio.gather(first, at.store.enqueue(new_task(), None))
        assert at.commits == 1


async def test_a_batch_is_bounded_by_its_operations(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await asyncio.gather(*(at.store.enqueue(new_task(), None) for _ in range(writing.BATCH_OPERATIONS + 1)))
        assert at.commits == 2


async def test_a_batch_is_bounded_by_its_bytes(tmp_path: Path) -> None:
    half = bytes(writing.BATCH_BYTES // 2)
    async with bench(tmp_path) as at:
        await asyncio.gather(*(at.store.enqueue(new_task(request=half), None) for _ in range(3)))
        assert at.commits == 2


async def test_the_next_verb_of_a_task_waits_for_the_next_batch(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        task = new_task()
        made, ended, other = await asyncio.gather(
            at.store.enqueue(task, None), at.store.cancel(task.id), at.store.enqueue(new_task(), None)
        )
        assert (made.status, ended.status, other.status) == (Status.PENDING, Status.CANCELLED, Status.PENDING)
        assert at.commits == 2


async def test_many_verbs_of_one_task_hold_up_nobody(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        repeats = [at.store.cancel(TaskId("one")) for _ in range(writing.BATCH_OPERATIONS + 2)]
        assert (await at.store.enqueue(new_task(), None)).created
        assert {(await one).status for one in repeats} == {None}


async def test_one_key_twice_at_once_makes_one_task(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        first, second = await asyncio.gather(*(at.store.enqueue(new_task(key="k"), None) for _ in range(2)))
        assert (first.created, second.created) == (True, False)
        assert first.task_id == second.task_id


async def test_what_wants_a_transaction_of_its_own_keeps_its_turn(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        slot = await registered(at.store)
        before = at.store.enqueue(new_task(), slot)
        leaving = at.writer.submit(Single(partial(leave, session_id=SESSION, epoch=1), alone=True))
        after = at.store.enqueue(new_task(), slot)
        await leaving
        assert (await before).status is Status.CLAIMED
        assert (await after).status is Status.PENDING


async def test_an_operation_left_for_the_next_batch_comes_before_what_followed_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        slot = await registered(at.store)
        task = new_task()
        made = at.store.enqueue(task, slot)
        done = at.store.complete(Completion(spoken=spoken(task.id), answer=ANSWER))
        await at.store.leave(SESSION, 1)
        assert made.done()
        assert done.done()
        assert (await done).verdict is Verdict.DONE


async def test_a_start_costs_no_commit_of_its_own(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        task = new_task()
        await at.store.enqueue(task, await registered(at.store))
        before = at.commits
        at.store.start(spoken(task.id))
        await turn_of_the_loop()
        assert at.commits == before
        assert at.rows("SELECT status FROM tasks") == [("claimed",)]


@pytest.mark.parametrize("flush", [lambda s: s.beat(SERVER, []), lambda s: s.enqueue(new_task(rank=9.0), None)])
async def test_a_start_rides_on_any_flush(tmp_path: Path, flush: Callable[[SqlStore], asyncio.Future[None]]) -> None:
    async with bench(tmp_path) as at:
        task = new_task()
        await at.store.enqueue(task, await registered(at.store))
        before = at.commits
        at.store.start(spoken(task.id))
        await flush(at.store)
        assert at.commits == before + 1
        assert at.rows(f"SELECT status FROM tasks WHERE id = '{task.id}'") == [("running",)]


async def test_a_start_is_kept_when_what_it_rides_on_is_refused(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        task = new_task()
        await at.store.enqueue(task, await registered(at.store))
        at.store.start(spoken(task.id))
        with pytest.raises(InvalidRequest):
            await at.store.beat(ServerId("\ud800"), [])
        assert at.rows("SELECT status FROM tasks") == [("running",)]


async def test_closing_flushes_what_waits(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        task = new_task()
        await at.store.enqueue(task, await registered(at.store))
        at.store.start(spoken(task.id))
        last = at.store.enqueue(new_task(), None)
        await at.writer.close()
        assert last.result().created
        assert at.rows("SELECT status FROM tasks ORDER BY id") == [("running",), ("pending",)]


async def test_closing_flushes_a_start_that_nothing_followed(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await at.store.enqueue(task := new_task(), await registered(at.store))
        at.store.start(spoken(task.id))
        await at.writer.close()
        assert at.rows("SELECT status FROM tasks") == [("running",)]


async def test_a_closing_store_takes_nothing_more(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await at.writer.close()
        with pytest.raises(StoreUnavailable, match="closing"):
            await at.store.enqueue(new_task(), None)


async def test_more_operations_than_may_wait_are_refused_with_a_time_to_retry(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        waiting = [at.store.cancel(TaskId(new_id())) for _ in range(writing.WAITING_OPERATIONS)]
        with pytest.raises(StoreUnavailable, match="more waits") as refused:
            await at.store.cancel(TaskId("nobody"))
        assert refused.value.retry_after_s > 0
        await asyncio.gather(*waiting)
        assert (await at.store.cancel(TaskId("nobody"))).status is None


async def test_more_bytes_than_may_wait_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "WAITING_BYTES", 10_000)
    async with bench(tmp_path) as at:
        big = at.store.enqueue(new_task(request=bytes(10_000)), None)
        with pytest.raises(StoreUnavailable):
            await at.store.cancel(TaskId("nobody"))
        assert (await big).created
        assert (await at.store.cancel(TaskId("nobody"))).status is None


async def test_starts_beyond_the_bound_are_dropped(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        for _ in range(writing.WAITING_OPERATIONS + 1):
            at.store.start(spoken(TaskId("nobody")))
        assert len(at.writer._starts) == writing.WAITING_OPERATIONS
        assert (await at.store.cancel(TaskId("nobody"))).status is None


async def test_whoever_stopped_waiting_is_passed_over(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        unwanted = at.store.enqueue(task := new_task(), None)
        unwanted.cancel()
        await at.store.cancel(TaskId("nobody"))
        assert at.rows("SELECT id FROM tasks") == [(task.id,)]


async def test_abandoning_drops_what_waits(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened_sqlite(path) as pair:
        await pair.store.enqueue(kept := new_task(), None)
    crashing = opened_sqlite(path)
    pair = await crashing.__aenter__()
    lost = pair.store.enqueue(new_task(), None)
    pair.abandon()
    assert not lost.done()
    async with opened_sqlite(path) as pair:
        assert [row.task_id for row in await pair.reader.pending(None, 10)] == [kept.id]


async def test_a_thread_does_the_work_and_the_loop_hears_of_it(tmp_path: Path) -> None:
    threads: list[str] = []
    failpoints.arm("enqueue.before_commit", lambda: threads.append(threading.current_thread().name))
    runner = ThreadRunner("store writer")
    try:
        async with bench(tmp_path, runner) as at:
            made = await asyncio.gather(*(at.store.enqueue(new_task(), None) for _ in range(10)))
            assert [one.created for one in made] == [True] * 10
    finally:
        failpoints.disarm()
        await runner.close()
    assert set(threads) == {"store writer"}
