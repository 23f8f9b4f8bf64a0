"""Claims about sessions between two registrations: bind, leave, loss, heartbeats, what an llm is said to be."""

import msgspec
import pytest

from inferpool.core.clock import MINUTE, SECOND
from inferpool.core.errors import Code, SessionInactive, SessionReplaced
from inferpool.core.ids import SessionId
from inferpool.core.lifecycle import Status
from inferpool.core.llm import Llm, LlmChange, LlmStatus
from inferpool.core.session import Session
from tests.store.builders import (
    SECOND_SERVER,
    SERVER,
    Rig,
    Worker,
    claimed,
    enqueue,
    kept_llm,
    new_id,
    registered,
    row_of,
    running,
)

pytestmark = pytest.mark.anyio


async def session_of(rig: Rig, worker: Worker) -> Session:
    session = await rig.reader.session(worker.id)
    assert session is not None
    return session


async def llm_of(rig: Rig, worker: Worker) -> Llm:
    llm = await kept_llm(rig.reader, worker.llm)
    assert llm is not None
    return llm


async def test_a_bind_moves_the_session_with_what_it_holds(rig: Rig) -> None:
    worker = await registered(rig)
    first, second = await running(rig, worker), await claimed(rig, worker)
    await enqueue(rig)
    await rig.store.beat(SERVER, [])
    held = await rig.store.bind(worker.id, worker.epoch, SECOND_SERVER)
    assert sorted((each.task_id, each.attempt, each.llm_name) for each in held) == [
        (first, 1, worker.llm),
        (second, 1, worker.llm),
    ]
    assert (await session_of(rig, worker)).server_id == SECOND_SERVER
    assert await worker.claim() == []
    worker.server_id = SECOND_SERVER
    assert len(await worker.claim()) == 1


async def test_a_bind_with_another_epoch_is_refused(rig: Rig) -> None:
    worker = await registered(rig)
    await worker.register()
    for epoch in (1, 3):
        with pytest.raises(SessionReplaced) as refused:
            await rig.store.bind(worker.id, epoch, SECOND_SERVER)
        assert refused.value.epoch == 2
    assert (await session_of(rig, worker)).server_id == SERVER


async def test_an_inactive_or_unknown_session_cannot_bind(rig: Rig) -> None:
    worker = await registered(rig)
    await worker.lose()
    for session_id in (worker.id, SessionId(new_id())):
        with pytest.raises(SessionInactive):
            await rig.store.bind(session_id, 1, SERVER)


async def test_a_session_of_a_dead_server_must_register_before_it_binds_elsewhere(rig: Rig) -> None:
    worker = await registered(rig)
    await rig.store.beat(SERVER, [])
    rig.later(MINUTE)
    with pytest.raises(SessionInactive):
        await rig.store.bind(worker.id, worker.epoch, SECOND_SERVER)
    assert (await session_of(rig, worker)).server_id == SERVER
    worker.server_id = SECOND_SERVER
    await worker.register()
    assert await rig.store.bind(worker.id, worker.epoch, SECOND_SERVER) == []


@pytest.mark.parametrize("by_operator", [True, False])
async def test_a_leave_takes_no_new_task_while_the_held_ones_go_on(rig: Rig, by_operator: bool) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await enqueue(rig)
    for _ in range(2):
        await rig.store.leave(worker.id, None if by_operator else worker.epoch)
    session = await session_of(rig, worker)
    assert (session.active, session.leaving) == (True, True)
    assert (await llm_of(rig, worker)).status is LlmStatus.INACTIVE
    assert await worker.claim() == []
    assert (await row_of(rig, task_id)).status is Status.RUNNING


async def test_a_leave_of_an_older_epoch_is_refused(rig: Rig) -> None:
    worker = await registered(rig)
    await worker.register()
    with pytest.raises(SessionReplaced):
        await rig.store.leave(worker.id, 1)
    assert not (await session_of(rig, worker)).leaving


async def test_a_leave_of_a_session_that_is_over_changes_nothing(rig: Rig) -> None:
    worker = await registered(rig)
    await worker.lose()
    before = await session_of(rig, worker)
    await rig.store.leave(worker.id, None)
    assert await session_of(rig, worker) == before


async def test_an_unknown_session_cannot_leave(rig: Rig) -> None:
    with pytest.raises(SessionInactive):
        await rig.store.leave(SessionId(new_id()), None)


async def test_what_is_still_held_at_the_end_of_a_leave_reverts_without_a_try(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker, max_tries=1)
    await rig.store.leave(worker.id, worker.epoch)
    await worker.lose()
    row = await row_of(rig, task_id)
    assert (row.status, row.tries) == (Status.PENDING, 0)
    session = await session_of(rig, worker)
    assert (session.active, session.leaving) == (False, False)


async def test_a_lost_session_gives_its_tasks_to_a_sibling(rig: Rig) -> None:
    worker, sibling = await registered(rig), await registered(rig, "b")
    task_id = await running(rig, worker)
    [moved] = await worker.lose()
    assert (moved.task_id, moved.status, moved.attempt, moved.session_id) == (task_id, Status.PENDING, 1, worker.id)
    assert (moved.lane, moved.owner, moved.priority, moved.rank) == ("pool:qwen", "local", "default", 1.0)
    assert (moved.ready, moved.size) == (True, len(b'{"model": "qwen"}'))
    row = await row_of(rig, task_id)
    assert (row.lost_by, row.claimed_by, row.claimed_at, row.stream_started_at) == (worker.id, None, None, None)
    assert row.ready
    session = await session_of(rig, worker)
    assert not session.active
    assert session.inactive_at is not None
    assert (await llm_of(rig, worker)).status is LlmStatus.INACTIVE
    assert [each.attempt for each in await sibling.claim()] == [2]


async def test_a_task_that_kills_its_workers_ends(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker, max_tries=2)
    await worker.lose()
    await worker.register()
    await worker.claim()
    [moved] = await worker.lose()
    row = await row_of(rig, task_id)
    assert (moved.status, row.status, row.error_code) == (Status.ERROR, Status.ERROR, Code.WORKER_LOST)
    assert (row.tries, row.attempt, row.lost_by) == (2, 2, None)
    assert row.completed_at is not None


async def test_a_loss_that_costs_no_try_says_so(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker, max_tries=1)
    await worker.lose(counts=False)
    row = await row_of(rig, task_id)
    assert (row.status, row.tries, row.lost_by) == (Status.PENDING, 0, worker.id)


async def test_frames_that_were_never_written_cost_no_try(rig: Rig) -> None:
    worker = await registered(rig)
    written, unwritten = await claimed(rig, worker), await claimed(rig, worker)
    await worker.lose(unwritten=[(unwritten, 1), (written, 7)])
    assert ((await row_of(rig, written)).tries, (await row_of(rig, unwritten)).tries) == (1, 0)
    lines = [(await rig.reader.attempts(task_id))[0].counted for task_id in (written, unwritten)]
    assert lines == [True, False]


async def test_a_loss_rechecks_epoch_server_with_age(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    loss = worker.loss()
    stale = [
        msgspec.structs.replace(loss, epoch=0),
        msgspec.structs.replace(loss, epoch=2),
        msgspec.structs.replace(loss, server_id=SECOND_SERVER),
        msgspec.structs.replace(loss, silent_for=MINUTE),
        msgspec.structs.replace(loss, session_id=SessionId(new_id())),
    ]
    for each in stale:
        assert await rig.store.deactivate(each) is None
    assert (await session_of(rig, worker)).active
    assert (await row_of(rig, task_id)).status is Status.RUNNING
    rig.later(MINUTE)
    moved = await rig.store.deactivate(msgspec.structs.replace(loss, silent_for=MINUTE))
    assert moved is not None
    assert [each.task_id for each in moved] == [task_id]


async def test_a_heartbeat_saves_a_session_from_its_loss(rig: Rig) -> None:
    worker = await registered(rig)
    rig.later(MINUTE)
    await rig.store.beat(SERVER, [worker.id])
    rig.later(SECOND)
    assert await rig.store.deactivate(worker.loss(silent_for=10 * SECOND)) is None


async def test_a_second_loss_finds_nothing(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await worker.lose()
    before = await row_of(rig, task_id), await session_of(rig, worker)
    assert await rig.store.deactivate(worker.loss()) is None
    assert (await row_of(rig, task_id), await session_of(rig, worker)) == before


async def test_a_loss_leaves_other_sessions_alone(rig: Rig) -> None:
    worker, other = await registered(rig), await registered(rig, "b")
    task_id = await running(rig, other)
    await worker.lose()
    assert (await row_of(rig, task_id)).claimed_by == other.id
    assert (await session_of(rig, other)).active
    assert (await llm_of(rig, other)).status is LlmStatus.ACTIVE


@pytest.mark.parametrize("status", sorted(LlmStatus))
async def test_a_worker_says_what_its_llm_is(rig: Rig, status: LlmStatus) -> None:
    worker = await registered(rig)
    await rig.store.set_llm_status(worker.id, worker.epoch, LlmChange(worker.llm, status, 9))
    llm = await llm_of(rig, worker)
    assert (llm.status, llm.slots) == (status, 9)


async def test_what_comes_late_of_an_llm_undoes_nothing_newer_in_its_epoch(rig: Rig) -> None:
    worker = await registered(rig)
    await rig.store.set_llm_status(worker.id, 1, LlmChange(worker.llm, LlmStatus.ACTIVE, 3, revision=2))
    await rig.store.set_llm_status(worker.id, 1, LlmChange(worker.llm, LlmStatus.INACTIVE, 9, revision=1))
    llm = await llm_of(rig, worker)
    assert (llm.status, llm.slots) == (LlmStatus.ACTIVE, 3)
    await worker.register()
    await rig.store.set_llm_status(worker.id, 2, LlmChange(worker.llm, LlmStatus.INACTIVE, 9, revision=1))
    assert (await llm_of(rig, worker)).status is LlmStatus.INACTIVE


async def test_what_an_older_epoch_says_of_its_llm_is_not_taken(rig: Rig) -> None:
    worker = await registered(rig)
    await worker.register()
    await rig.store.set_llm_status(worker.id, 1, LlmChange(worker.llm, LlmStatus.INACTIVE, 9))
    assert (await llm_of(rig, worker)).status is LlmStatus.ACTIVE


async def test_a_worker_says_nothing_of_another_ones_llm(rig: Rig) -> None:
    worker, other = await registered(rig), await registered(rig, "b")
    await rig.store.set_llm_status(worker.id, worker.epoch, LlmChange(other.llm, LlmStatus.INACTIVE, 9))
    assert (await llm_of(rig, other)).status is LlmStatus.ACTIVE


@pytest.mark.parametrize("leaving", [True, False])
async def test_a_session_that_ended_or_leaves_has_no_live_llm(rig: Rig, leaving: bool) -> None:
    worker = await registered(rig)
    await (rig.store.leave(worker.id, None) if leaving else worker.lose())
    await rig.store.set_llm_status(worker.id, worker.epoch, LlmChange(worker.llm, LlmStatus.ACTIVE, 9))
    assert (await llm_of(rig, worker)).status is LlmStatus.INACTIVE


async def test_a_beat_reaches_the_sessions_that_were_heard(rig: Rig) -> None:
    worker, silent = await registered(rig), await registered(rig, "b")
    before = (await session_of(rig, worker)).seen_at
    rig.later(MINUTE)
    await rig.store.beat(SERVER, [worker.id])
    assert (await session_of(rig, worker)).seen_at >= before + MINUTE
    assert (await session_of(rig, silent)).seen_at < before + MINUTE


async def test_a_beat_does_not_revive_a_session(rig: Rig) -> None:
    worker = await registered(rig)
    await worker.lose()
    await rig.store.beat(SERVER, [worker.id])
    assert not (await session_of(rig, worker)).active
