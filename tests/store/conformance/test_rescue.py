"""Claims about sessions that move from server to server, or are taken from a dead one."""

import msgspec
import pytest

from inferpool.core.clock import MINUTE, SECOND
from inferpool.core.errors import SessionInactive
from inferpool.core.ids import ServerId
from inferpool.core.lifecycle import Status
from inferpool.store.protocol import Verdict
from tests.store.builders import (
    SECOND_SERVER,
    SERVER,
    Rig,
    complete,
    registered,
    row_of,
    running,
)
from tests.store.peers import DEAD_AFTER, beat, orphaned, rescue, standing

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("server_id", [SERVER, SECOND_SERVER])
async def test_an_epoch_has_one_channel_at_whichever_server(rig: Rig, server_id: ServerId) -> None:
    worker = await registered(rig)
    await beat(rig, (SERVER, SECOND_SERVER))
    await rig.store.bind(worker.id, worker.epoch, SECOND_SERVER)
    before = await rig.reader.session(worker.id)
    rig.later(SECOND)
    with pytest.raises(SessionInactive, match="had its channel: register again"):
        await rig.store.bind(worker.id, worker.epoch, server_id)
    assert await rig.reader.session(worker.id) == before
    assert (await standing(rig, worker)).bound


async def test_another_epoch_has_its_own_channel(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    for epoch in (1, 2, 3):
        held = await rig.store.bind(worker.id, worker.epoch, SERVER)
        assert [each.task_id for each in held] == [task_id]
        assert (await standing(rig, worker)).bound
        await worker.register([(task_id, 1)])
        there = await standing(rig, worker)
        assert (there.epoch, there.bound) == (epoch + 1, False)


async def test_a_refused_bind_leaves_the_epoch_its_channel(rig: Rig) -> None:
    worker = await registered(rig)
    await beat(rig)
    rig.later(MINUTE)
    with pytest.raises(SessionInactive, match="its server is gone"):
        await rig.store.bind(worker.id, worker.epoch, SECOND_SERVER)
    assert not (await standing(rig, worker)).bound
    await beat(rig)
    assert await rig.store.bind(worker.id, worker.epoch, SECOND_SERVER) == []


async def test_a_session_of_a_dead_server_is_rescued(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await beat(rig)
    rig.later(DEAD_AFTER)
    moved = await rescue(rig, worker)
    assert moved is not None
    assert [(one.task_id, one.status) for one in moved] == [(task_id, Status.PENDING)]
    assert not (await standing(rig, worker)).active


@pytest.mark.parametrize("age", [0, DEAD_AFTER - 1])
async def test_a_session_whose_server_is_back_in_time_is_not_rescued(rig: Rig, age: int) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    rig.later(MINUTE)
    assert [one.session_id for one in await rig.reader.orphans(10)] == [worker.id]
    await beat(rig)
    rig.later(age)
    assert await rescue(rig, worker) is None
    assert (await standing(rig, worker)).active
    assert (await row_of(rig, task_id)).status is Status.RUNNING


async def test_a_loss_at_the_servers_own_word_asks_for_no_heartbeat(rig: Rig) -> None:
    worker = await registered(rig)
    await beat(rig)
    assert await rig.store.deactivate(worker.loss()) == []


async def test_a_session_that_moved_is_not_rescued_from_where_it_was(rig: Rig) -> None:
    worker = await registered(rig)
    await beat(rig, (SECOND_SERVER,))
    await rig.store.beat(SERVER, [])
    await rig.store.bind(worker.id, worker.epoch, SECOND_SERVER)
    rig.later(MINUTE)
    await beat(rig, (SECOND_SERVER,))
    assert await rescue(rig, worker) is None
    assert (await standing(rig, worker)).active


async def test_a_session_that_registered_elsewhere_is_not_rescued(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    rig.later(MINUTE)
    seen = orphaned(worker)
    worker.server_id = SECOND_SERVER
    await worker.register([(task_id, 1)])
    assert await rig.store.deactivate(seen) is None
    assert (await row_of(rig, task_id)).claimed_by == worker.id


async def test_a_second_rescuer_finds_nothing(rig: Rig) -> None:
    worker = await registered(rig)
    await running(rig, worker)
    rig.later(MINUTE)
    told = [await rescue(rig, worker) for _ in range(2)]
    assert [moved is None for moved in told] == [False, True]


async def test_what_a_dead_server_held_and_did_not_hand_over_costs_no_try(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    rig.later(MINUTE)
    loss = msgspec.structs.replace(orphaned(worker), counts=False)
    assert await rig.store.deactivate(loss) != []
    assert (await row_of(rig, task_id)).tries == 0


async def test_a_result_that_comes_before_the_rescue_stays(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    rig.later(MINUTE)
    assert (await rig.store.complete(complete(worker.says(task_id)))).verdict is Verdict.DONE
    assert await rescue(rig, worker) == []
    assert (await row_of(rig, task_id)).status is Status.COMPLETED


async def test_a_result_that_comes_after_the_rescue_is_stale(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    rig.later(MINUTE)
    await rescue(rig, worker)
    assert (await rig.store.complete(complete(worker.says(task_id)))).verdict is Verdict.STALE
    row = await row_of(rig, task_id)
    assert (row.status, row.lost_by) == (Status.PENDING, worker.id)
