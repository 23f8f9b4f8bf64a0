"""Claims about what the servers of one database see of each other, what they take from a dead one."""

import pytest

from inferpool.core.clock import HOUR, MINUTE, SECOND
from inferpool.core.ids import ServerId, SessionId, TaskId
from inferpool.core.lifecycle import Ending, Status
from inferpool.store.servers_protocol import AttemptEnding, LaneCount, Orphan, SessionStanding, TaskStanding
from tests.store.builders import (
    SECOND_SERVER,
    SERVER,
    Rig,
    Worker,
    claimed,
    ended,
    enqueue,
    fail,
    new_id,
    offer,
    registered,
    retry,
    running,
)
from tests.store.peers import DEAD_AFTER, beat, rescue, standing

pytestmark = pytest.mark.anyio

NOBODY = SessionId("01900000-0000-7000-8000-ffffffffffff")


async def orphans(rig: Rig, limit: int = 100) -> list[SessionId]:
    """The sessions that nobody serves."""
    return [one.session_id for one in await rig.reader.orphans(limit)]


async def test_a_task_stands_where_its_row_says(rig: Rig) -> None:
    worker = await registered(rig)
    done = await ended(rig, worker, Status.COMPLETED)
    given, busy = await claimed(rig, worker), await running(rig, worker)
    [waiting] = await enqueue(rig)
    assert await rig.reader.standings([waiting, busy, TaskId(new_id()), done, given]) == [
        TaskStanding(waiting, Status.PENDING, 0, None, None),
        TaskStanding(busy, Status.RUNNING, 1, worker.id, SERVER),
        TaskStanding(done, Status.COMPLETED, 1, None, None),
        TaskStanding(given, Status.CLAIMED, 1, worker.id, SERVER),
    ]


async def test_a_task_stands_at_the_server_that_its_session_moved_to(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await beat(rig)
    await rig.store.bind(worker.id, worker.epoch, SECOND_SERVER)
    [found] = await rig.reader.standings([task_id])
    assert (found.session_id, found.server_id) == (worker.id, SECOND_SERVER)


async def test_an_attempt_has_its_ending_once_it_ended(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.retry(retry(worker.says(task_id)))
    await rig.store.make_ready(10)
    [again] = await worker.claim()
    failed = await running(rig, worker)
    await rig.store.fail(fail(worker.says(failed)))
    asked = [(failed, 1), (task_id, again.attempt), (task_id, 1), (TaskId(new_id()), 1)]
    assert await rig.reader.endings(asked) == [
        AttemptEnding(failed, 1, Ending.FAILED),
        AttemptEnding(task_id, 1, Ending.RETRIED),
    ]


async def test_who_asks_after_nothing_is_told_nothing(rig: Rig) -> None:
    await ended(rig, await registered(rig), Status.COMPLETED)
    assert await rig.reader.standings([]) == []
    assert await rig.reader.endings([]) == []
    assert await rig.reader.session_standings([]) == []


async def test_a_session_stands_as_it_registered(rig: Rig) -> None:
    worker, other = await registered(rig), await registered(rig, "b", SECOND_SERVER)
    await beat(rig)
    known = SessionStanding(
        session_id=worker.id,
        epoch=1,
        active=True,
        leaving=False,
        server_id=SERVER,
        subject="local",
        secret_hash=f"hash of {worker.id}",
        bound=False,
        alive=True,
    )
    [first, second] = await rig.reader.session_standings([other.id, NOBODY, worker.id])
    assert (first.session_id, first.server_id, first.alive) == (other.id, SECOND_SERVER, False)
    assert second == known


async def test_a_session_stands_as_it_leaves_then_ends(rig: Rig) -> None:
    worker = await registered(rig)
    await rig.store.leave(worker.id, worker.epoch)
    there = await standing(rig, worker)
    assert (there.active, there.leaving) == (True, True)
    await worker.lose()
    there = await standing(rig, worker)
    assert (there.active, there.leaving) == (False, False)


async def test_a_server_is_alive_for_six_seconds_after_its_heartbeat(rig: Rig) -> None:
    worker = await registered(rig)
    await beat(rig)
    rig.later(DEAD_AFTER - 1)
    assert await rig.reader.servers() == [SERVER]
    assert (await standing(rig, worker)).alive
    assert await orphans(rig) == []
    rig.later(1)
    assert await rig.reader.servers() == []
    assert not (await standing(rig, worker)).alive
    assert await orphans(rig) == [worker.id]
    await beat(rig)
    assert await rig.reader.servers() == [SERVER]
    assert await orphans(rig) == []


async def test_what_a_session_publishes_is_told_by_name(rig: Rig) -> None:
    worker = Worker(rig)
    await worker.register(llms=[offer("qwen@b"), offer("qwen@a", slots=2)])
    await registered(rig, "c")
    assert [(llm.name, llm.slots) for llm in await rig.reader.llms_of(worker.id)] == [("qwen@a", 2), ("qwen@b", 4)]
    assert await rig.reader.llms_of(NOBODY) == []


async def test_a_server_that_retired_is_dead_at_once(rig: Rig) -> None:
    worker, other = await registered(rig), await registered(rig, "b", SECOND_SERVER)
    await beat(rig, (SERVER, SECOND_SERVER))
    assert await rig.reader.servers() == [SERVER, SECOND_SERVER]
    for _ in range(2):
        await rig.store.retire_server(SERVER)
    assert await rig.reader.servers() == [SECOND_SERVER]
    assert await orphans(rig) == [worker.id]
    assert (await standing(rig, other)).alive


async def test_orphans_are_the_active_sessions_of_dead_servers_the_longest_silent_first(rig: Rig) -> None:
    served, gone = await registered(rig, "a", SECOND_SERVER), await registered(rig, "b")
    late, early = await registered(rig, "c"), await registered(rig, "d")
    leaving = await registered(rig, "e")
    await gone.lose()
    await rig.store.leave(leaving.id, None)
    for worker in (early, late, leaving):
        rig.later(SECOND)
        await rig.store.beat(SERVER, [worker.id])
    rig.later(MINUTE)
    await beat(rig, (SECOND_SERVER,))
    assert (await rig.reader.orphans(100))[0] == Orphan(early.id, 1, SERVER)
    assert await orphans(rig) == [early.id, late.id, leaving.id]
    assert await orphans(rig, limit=2) == [early.id, late.id]
    assert (await standing(rig, served)).active


async def test_what_is_pending_is_counted_by_lane(rig: Rig) -> None:
    worker = await registered(rig)
    await enqueue(rig, 2)
    await enqueue(rig, 3, lane="pool:bge")
    await running(rig, worker)
    backs_off = await running(rig, worker)
    await rig.store.retry(retry(worker.says(backs_off), delay=HOUR))
    for status in (Status.COMPLETED, Status.ERROR, Status.CANCELLED):
        await ended(rig, worker, status)
    size = len(b'{"model": "qwen"}')
    assert await rig.reader.pending_counts() == [
        LaneCount("pool:bge", 3, 3 * size),
        LaneCount("pool:qwen", 3, 3 * size),
    ]


async def test_where_nothing_is_pending_no_lane_is_counted(rig: Rig) -> None:
    await ended(rig, await registered(rig), Status.COMPLETED)
    assert await rig.reader.pending_counts() == []


async def test_a_server_that_nobody_names_is_forgotten_once_it_is_old(rig: Rig) -> None:
    old, young = ServerId("old"), ServerId("young")
    await beat(rig, (old,))
    rig.later(MINUTE)
    await beat(rig, (young,))
    assert await rig.store.forget_servers(MINUTE + 1, 10) == 0
    assert await rig.store.forget_servers(MINUTE, 10) == 1
    assert rig.sql("SELECT id FROM servers") == [(young,)]
    assert await rig.store.forget_servers(MINUTE, 10) == 0


async def test_a_server_that_an_active_session_names_is_kept_until_that_ends(rig: Rig) -> None:
    worker = await registered(rig)
    await beat(rig, (SERVER, SECOND_SERVER))
    rig.later(HOUR)
    assert await rig.store.forget_servers(MINUTE, 10) == 1
    assert rig.sql("SELECT id FROM servers") == [(SERVER,)]
    await rescue(rig, worker)
    assert await rig.store.forget_servers(MINUTE, 10) == 1
    assert rig.sql("SELECT id FROM servers") == []


async def test_servers_are_forgotten_a_few_at_a_time_the_oldest_first(rig: Rig) -> None:
    for number in range(5):
        await beat(rig, (ServerId(f"server {number}"),))
        rig.later(SECOND)
    assert await rig.store.forget_servers(0, 3) == 3
    assert sorted(rig.sql("SELECT id FROM servers")) == [("server 3",), ("server 4",)]
    assert await rig.store.forget_servers(0, 3) == 2
