"""Servers that share one database: whatever they do at once, each row changes as if one had come after the other."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from inferpool.core.clock import HOUR, MINUTE
from inferpool.core.errors import NameInUse, SessionReplaced
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Ending, Status
from inferpool.store.protocol import Moved, Verdict
from tests.store.builders import Worker, complete, enqueue, new_id, new_task, registered, retry, row_of, running
from tests.store.peers import SERVERS, Two, two_servers
from tests.store.side_desk import emptied_desk

pytestmark = pytest.mark.anyio

ROUNDS = 8
"""How often a race is run: who comes first differs from run to run."""


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    """Two stores on one emptied database."""
    async with two_servers(emptied_desk()) as both:
        yield both


async def drain(worker: Worker, free: int) -> list[TaskId]:
    """All that the worker gets, a claim at a time, until one comes back empty."""
    taken: list[TaskId] = []
    while batch := await worker.claim(free=free):
        taken += [each.task_id for each in batch]
    return taken


async def test_each_task_is_claimed_once_by_whichever_server_is_first(two: Two) -> None:
    workers = [await registered(rig, name, server) for rig, name, server in zip(two, "ab", SERVERS, strict=True)]
    waiting = await enqueue(two.first, 150)
    taken = await asyncio.gather(*(drain(worker, free) for free in (1, 3) for worker in workers))
    assert sorted(task_id for each in taken for task_id in each) == sorted(waiting)
    assert {(await row_of(two.second, task_id)).attempt for task_id in waiting} == {1}


async def test_two_claimers_do_not_wait_for_each_other(two: Two) -> None:
    worker = await registered(two.first, "a", SERVERS[0])
    tasks = await enqueue(two.first, 3)
    two.first._desk.script("BEGIN")
    two.first.sql("SELECT 1 FROM tasks WHERE id = ? FOR UPDATE", tasks[0])
    try:
        assert [one.task_id for one in await worker.claim(free=1)] == [tasks[1]]
    finally:
        two.first._desk.script("ROLLBACK")


async def test_one_key_at_two_servers_at_once_makes_one_task(two: Two) -> None:
    for number in range(ROUNDS):
        tasks = [new_task(key=f"key {number}") for _ in range(6)]
        made = await asyncio.gather(*(two[at % 2].store.enqueue(task, None) for at, task in enumerate(tasks)))
        assert [one.created for one in made].count(True) == 1
        assert len({one.task_id for one in made}) == 1


async def test_a_key_that_is_free_again_is_taken_by_one_server(two: Two) -> None:
    for number in range(ROUNDS):
        old = await two.first.store.enqueue(new_task(key=f"key {number}"), None)
        await two.first.store.cancel(old.task_id)
        made = await asyncio.gather(*(rig.store.enqueue(new_task(key=f"key {number}"), None) for rig in two))
        assert sorted(one.created for one in made) == [False, True]
        assert len({one.task_id for one in made} - {old.task_id}) == 1


async def test_keys_that_cross_each_other_are_all_kept(two: Two) -> None:
    keys = [f"key {number}" for number in range(40)]
    made = await asyncio.gather(
        *(two.first.store.enqueue(new_task(key=key), None) for key in keys),
        *(two.second.store.enqueue(new_task(key=key), None) for key in reversed(keys)),
    )
    assert [one.created for one in made].count(True) == len(keys)


async def test_a_name_is_published_by_one_of_two_sessions_that_want_it_at_once(two: Two) -> None:
    for number in range(ROUNDS):
        workers = [Worker(rig, f"worker {number}", server) for rig, server in zip(two, SERVERS, strict=True)]
        told = await asyncio.gather(*(worker.register() for worker in workers), return_exceptions=True)
        assert sorted(isinstance(one, NameInUse) for one in told) == [False, True]
        [llm] = [llm for llm in await two.first.reader.llms(None, 100) if llm.name == workers[0].llm]
        winner = workers[0 if isinstance(told[1], NameInUse) else 1]
        assert llm.session_id == winner.id


async def test_an_epoch_is_taken_by_one_of_two_registrations_at_once(two: Two) -> None:
    for number in range(ROUNDS):
        worker = Worker(two.first, f"worker {number}", SERVERS[0])
        wish = worker.registration(llms=[])
        told = await asyncio.gather(*(rig.store.register(wish) for rig in two), return_exceptions=True)
        assert sorted(isinstance(one, SessionReplaced) for one in told) == [False, True]


async def test_a_rescuer_and_a_late_result_agree_on_one_end(two: Two) -> None:
    for number in range(ROUNDS):
        worker = await registered(two.first, f"worker {number}", SERVERS[0])
        task_id = await running(two.first, worker)
        said, moved = await asyncio.gather(
            two.first.store.complete(complete(worker.says(task_id))), two.second.store.deactivate(worker.loss())
        )
        assert moved is not None
        row, history = await row_of(two.first, task_id), await two.first.reader.attempts(task_id)
        if said.verdict is Verdict.DONE:
            assert (row.status, moved, history[0].ending) == (Status.COMPLETED, [], Ending.COMPLETED)
        else:
            assert (said.verdict, row.status, history[0].ending) == (Verdict.STALE, Status.PENDING, Ending.REVERTED)
        assert len(history) == 1


async def test_two_rescuers_revert_each_task_once(two: Two) -> None:
    workers = [await registered(two.first, f"worker {number}", SERVERS[0]) for number in range(6)]
    held = [await running(two.first, worker) for worker in workers for _ in range(3)]
    two.first.later(2 * MINUTE)
    moved = await asyncio.gather(*(rig.store.deactivate_silent(MINUTE, 4) for rig in two for _ in range(3)))
    assert sorted(ids(*moved)) == sorted(held)
    for task_id in held:
        assert [line.ending for line in await two.first.reader.attempts(task_id)] == [Ending.REVERTED]


async def test_a_session_that_two_servers_end_at_once_is_ended_by_one(two: Two) -> None:
    for number in range(ROUNDS):
        worker = await registered(two.first, f"worker {number}", SERVERS[0])
        await running(two.first, worker)
        moved = await asyncio.gather(*(rig.store.deactivate(worker.loss()) for rig in two))
        assert sorted(one is None for one in moved) == [False, True]


async def test_a_server_that_lost_the_session_claims_nothing_for_it(two: Two) -> None:
    for number in range(ROUNDS):
        worker = await registered(two.first, f"worker {number}", SERVERS[0])
        [task_id] = await enqueue(two.first)
        taken, _ = await asyncio.gather(worker.claim(), two.second.store.bind(worker.id, worker.epoch, SERVERS[1]))
        assert [one.task_id for one in taken] in ([], [task_id])
        assert await worker.claim() == []
        await two.first.store.cancel(task_id)


async def test_a_cancel_and_a_result_at_two_servers_agree_on_one_end(two: Two) -> None:
    worker = await registered(two.first, "a", SERVERS[0])
    for _ in range(ROUNDS):
        task_id = await running(two.first, worker)
        said, cancelled = await asyncio.gather(
            two.first.store.complete(complete(worker.says(task_id))), two.second.store.cancel(task_id)
        )
        won = Status.COMPLETED if said.verdict is Verdict.DONE else Status.CANCELLED
        assert (await row_of(two.first, task_id)).status is won
        assert (cancelled.moved is None, cancelled.status) == (won is Status.COMPLETED, won)
        assert len(await two.first.reader.attempts(task_id)) == 1


async def test_a_cancel_and_a_claim_at_two_servers_agree(two: Two) -> None:
    worker = await registered(two.first, "a", SERVERS[0])
    for _ in range(ROUNDS):
        [task_id] = await enqueue(two.first)
        taken, cancelled = await asyncio.gather(worker.claim(), two.second.store.cancel(task_id))
        assert cancelled.moved is not None
        assert cancelled.moved.session_id == (worker.id if taken else None)
        assert (await row_of(two.first, task_id)).status is Status.CANCELLED


async def test_batches_in_opposite_orders_are_all_done(two: Two) -> None:
    worker = await registered(two.first, "a", SERVERS[0])
    held = [await running(two.first, worker) for _ in range(60)]
    said = await asyncio.gather(
        *(two.first.store.complete(complete(worker.says(task_id))) for task_id in held[:30]),
        *(two.first.store.retry(retry(worker.says(task_id), delay=MINUTE)) for task_id in held[30:]),
        *(two.second.store.cancel(task_id) for task_id in reversed(held)),
    )
    assert len(said) == 120
    ended = [(await row_of(two.first, task_id)).status for task_id in held]
    assert set(ended[:30]) <= {Status.COMPLETED, Status.CANCELLED}
    assert set(ended[30:]) == {Status.CANCELLED}


async def test_two_sweeps_at_once_end_each_task_once(two: Two) -> None:
    tasks = await enqueue(two.first, 60)
    two.first.later(2 * HOUR)
    moved = await asyncio.gather(*(rig.store.expire(20) for rig in two for _ in range(3)))
    assert sorted(ids(*moved)) == sorted(tasks)
    two.first.later(HOUR)
    gone = await asyncio.gather(*(rig.store.delete_ended(HOUR, 20) for rig in two for _ in range(3)))
    assert sum(gone) == 60


async def test_a_lanes_clock_never_falls_whoever_writes_it(two: Two) -> None:
    lanes = [f"pool:{number}" for number in range(20)]
    await asyncio.gather(
        two.first.store.write_clocks([(lane, 5.0) for lane in lanes]),
        two.second.store.write_clocks([(lane, 3.0) for lane in reversed(lanes)]),
    )
    assert {time for _, time in await two.first.reader.clocks()} == {5.0}


async def test_a_replay_of_two_servers_at_once_is_one(two: Two) -> None:
    for _ in range(ROUNDS):
        [task_id] = await enqueue(two.first)
        await two.first.store.cancel(task_id)
        told = await asyncio.gather(*(rig.store.replay(task_id, 1.0, HOUR) for rig in two), return_exceptions=True)
        assert sorted(isinstance(one, Moved) for one in told) == [False, True]
        await two.first.store.cancel(task_id)


async def test_a_writer_is_itself_whatever_the_other_commits(two: Two) -> None:
    await asyncio.gather(*(two[at % 2].store.enqueue(new_task(id=TaskId(new_id())), None) for at in range(20)))
    assert {str(name) for (name,) in two.first.sql("SELECT id FROM writers")} == set(SERVERS)


def ids(*moved: list[Moved]) -> list[TaskId]:
    """The tasks that moved."""
    return [one.task_id for each in moved for one in each]
