"""Sessions register, bind, come back, get lost: no attempt runs twice at once, none is forgotten."""

from pathlib import Path

import msgspec
import pytest

from inferpool.core.errors import (
    Forbidden,
    InvalidRequest,
    NameInUse,
    NotFound,
    ProtocolUnsupported,
    SessionInactive,
    SessionReplaced,
)
from inferpool.core.ids import SessionId, TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.llm import LlmStatus
from inferpool.core.session import LlmOffer
from inferpool.dispatch.credentials import Credentials
from inferpool.dispatch.options import DispatchOptions
from inferpool.wire.sessions import Failed, Holding, LlmStatusChanged, RegisterRequest, Stopped, WorkerInfo
from tests.dispatch.rig import OPTIONS, SECRET, Rig, ScriptedWorker, call, chunk, offer, opened_dispatch, result, turn
from tests.store.stores import SettableClock

pytestmark = pytest.mark.anyio


def request(**changes: object) -> RegisterRequest:
    """A sound registration, changed."""
    sound = RegisterRequest(
        session_id="01800000-0000-7000-8000-0000000000aa", epoch=1, worker=WorkerInfo(name="box"), llms=[offer()]
    )
    return msgspec.structs.replace(sound, **changes)


async def status_of(rig: Rig, task_id: str) -> tuple[Status, int, int]:
    """Status, attempt, tries of a task."""
    row = await rig.dispatch.reader.row(TaskId(task_id))
    assert row is not None
    return row.status, row.attempt, row.tries


async def test_a_worker_without_an_identity_is_given_one(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        reply = await rig.dispatch.desk.register(request(session_id=None), None, "local")
        assert reply.session_secret == "a made secret of the server"
        who = Credentials(SessionId(reply.session_id), reply.session_secret, 1)
        assert await rig.dispatch.desk.take(who, []) == []


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"session_id": "no uuid"}, "session_id"),
        ({"epoch": 0}, "epoch"),
        ({"worker": WorkerInfo(name="")}, "worker.name"),
        ({"llms": [offer("tier:x")]}, "llms[0].name"),
        ({"llms": [offer(), offer()]}, "llms[1].name"),
        ({"llms": [offer(slots=-1)]}, "llms[0].slots"),
        ({"llms": [offer(pool=" ")]}, "llms[0].pool_name"),
        ({"llms": [LlmOffer(name="x", model="", engine="e", slots=1)]}, "llms[0].model"),
        ({"llms": [offer(str(number)) for number in range(1001)]}, "llms"),
        ({"holding": [Holding(task_id="t", attempt=1)] * 100_001}, "holding"),
    ],
)
async def test_a_malformed_registration_names_its_field(tmp_path: Path, changes: dict[str, object], param: str) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        with pytest.raises(InvalidRequest) as refused:
            await rig.dispatch.desk.register(request(**changes), SECRET, "local")
        assert refused.value.param == param
        assert await rig.dispatch.reader.sessions(None, 10) == []


async def test_an_identity_comes_with_its_secret(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        with pytest.raises(InvalidRequest, match="secret"):
            await rig.dispatch.desk.register(request(), "short", "local")
        await rig.dispatch.desk.register(request(), SECRET, "local")
        with pytest.raises(Forbidden):
            await rig.dispatch.desk.register(request(epoch=2), "another secret of a stranger", "local")
        session_id = SessionId(str(request().session_id))
        with pytest.raises(Forbidden):
            await rig.dispatch.desk.take(Credentials(session_id, "wrong", 1), [])


@pytest.mark.parametrize(("protocol", "who"), [(2, "server"), (0, "worker")])
async def test_another_protocol_is_told_who_must_upgrade(tmp_path: Path, protocol: int, who: str) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        with pytest.raises(ProtocolUnsupported, match=f"upgrade the {who}"):
            await rig.dispatch.desk.register(request(protocol=protocol), SECRET, "local")


async def test_only_a_higher_epoch_replaces(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        old = worker.who
        await worker.register()
        with pytest.raises(SessionReplaced) as refused:
            await rig.dispatch.desk.take(old, [])
        assert refused.value.epoch == 2
        worker.epoch = 0
        with pytest.raises(SessionReplaced):
            await worker.register()


async def test_an_unknown_session_is_told_to_register(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = ScriptedWorker(rig)
        worker.epoch = 1
        with pytest.raises(SessionInactive):
            await worker.say()
        with pytest.raises(SessionInactive):
            await worker.bind()


async def test_a_channel_binds_once_an_epoch(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        with pytest.raises(SessionInactive):
            await rig.dispatch.desk.bind(worker.who)


async def test_a_name_of_another_active_session_is_in_use(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig, 1).join()
        other = ScriptedWorker(rig, 2)
        with pytest.raises(NameInUse):
            await other.register()


async def test_a_worker_that_comes_back_goes_on_where_it_was(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        ticket = await rig.dispatch.intake.submit(call(streaming=True))
        frame = await worker.infer()
        await worker.say(chunk(frame, 1))
        worker.break_channel()
        reply = await worker.register(holding=[Holding(task_id=frame.task_id, attempt=1, last_seq=2)])
        assert [(entry.task_id, entry.have_seq) for entry in reply.resume] == [(ticket.task_id, 1)]
        await worker.bind()
        assert await worker.say(chunk(frame, 2), result(frame, last_seq=2)) == []
        assert await status_of(rig, frame.task_id) == (Status.COMPLETED, 1, 0)


async def test_what_a_returning_worker_no_longer_holds_goes_to_others(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.intake.submit(call())
        frame = await worker.infer()
        worker.break_channel()
        await worker.join()
        again = await worker.infer()
        assert (again.task_id, again.attempt) == (frame.task_id, 2)
        assert (await status_of(rig, frame.task_id))[2] == 1


async def test_a_lost_session_that_nobody_replaced_adopts_its_task(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.intake.submit(call())
        frame = await worker.infer()
        worker.break_channel()
        await turn()
        await rig.dispatch.poll.tick()
        assert await status_of(rig, frame.task_id) == (Status.PENDING, 1, 1)
        with pytest.raises(SessionInactive):
            await worker.say(result(frame))
        reply = await worker.register(holding=[Holding(task_id=frame.task_id, attempt=1, ended=True)])
        assert [entry.task_id for entry in reply.resume] == [frame.task_id]
        assert await worker.say(result(frame)) == []
        assert await status_of(rig, frame.task_id) == (Status.COMPLETED, 1, 0)
        assert rig.dispatch.backlog.counts.tasks == 0


async def test_a_lost_session_whose_task_went_on_drops_it(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        first = await ScriptedWorker(rig, 1).join()
        await rig.dispatch.intake.submit(call())
        frame = await first.infer()
        first.break_channel()
        await turn()
        await rig.dispatch.poll.tick()
        second = await ScriptedWorker(rig, 2).join_elsewhere()
        again = await second.infer()
        reply = await first.register(holding=[Holding(task_id=frame.task_id, attempt=1)])
        assert [(entry.task_id, entry.attempt) for entry in reply.drop] == [(frame.task_id, 1)]
        session = rig.dispatch.catalog.sessions[first.session_id]
        assert session.engines["e"].used == 1  # until the engine has stopped
        await first.say(Stopped(task_id=frame.task_id, attempt=1))
        assert session.engines["e"].used == 0
        assert await second.say(result(again)) == []


async def test_a_task_that_kills_three_workers_ends(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        ticket = await rig.dispatch.intake.submit(call())
        assert ticket.watcher is not None
        for _ in range(3):
            await worker.infer()
            worker.break_channel()
            await worker.join()
        outcome = await ticket.watcher.end()
        assert outcome is not None
        assert outcome.fault is not None
        assert outcome.fault.code == "worker_lost"
        assert await status_of(rig, ticket.task_id) == (Status.ERROR, 3, 3)


async def test_frames_that_never_left_go_back_at_no_cost(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = ScriptedWorker(rig)
        await worker.register(offer(slots=2))
        channel = await rig.dispatch.desk.bind(worker.who)  # nobody reads from it
        ticket = await rig.dispatch.intake.submit(call())
        await turn()
        assert (await status_of(rig, ticket.task_id))[0] is Status.CLAIMED
        channel.lost()
        await turn()
        assert await status_of(rig, ticket.task_id) == (Status.PENDING, 1, 0)


async def test_a_cancel_finds_its_frame_before_it_left(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = ScriptedWorker(rig)
        await worker.register()
        channel = await rig.dispatch.desk.bind(worker.who)
        await turn()
        ticket = await rig.dispatch.intake.submit(call())
        row = await rig.dispatch.intake.cancel(ticket.task_id, "local")
        assert row.status is Status.CANCELLED
        channel.push(b"the next frame")
        assert await anext(channel.frames()) == b"the next frame"
        assert rig.dispatch.catalog.sessions[worker.session_id].engines["e"].free == 1


async def test_a_leave_lets_running_tasks_finish(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.intake.submit(call("one"))
        waiting = await rig.dispatch.intake.submit(call("two"))
        frame = await worker.infer()
        await rig.dispatch.desk.leave(worker.who)
        await rig.dispatch.desk.leave(worker.who)
        assert await worker.say(result(frame)) == []
        await turn()
        assert not worker.frames
        assert rig.dispatch.catalog.models() == []
        worker.break_channel()
        await turn()
        assert worker.session_id not in rig.dispatch.catalog.sessions
        assert await status_of(rig, waiting.task_id) == (Status.PENDING, 0, 0)


async def test_what_a_leaving_worker_still_holds_reverts_without_a_try(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.intake.submit(call())
        frame = await worker.infer()
        await rig.dispatch.desk.leave(worker.session_id)
        worker.break_channel()
        await turn()
        assert await status_of(rig, frame.task_id) == (Status.PENDING, 1, 0)
        with pytest.raises(NotFound):
            await rig.dispatch.desk.leave(worker.session_id)


async def test_a_restart_costs_no_try_and_an_answer_finds_its_row(tmp_path: Path) -> None:
    clock = SettableClock()
    async with opened_dispatch(tmp_path / "db", clock=clock) as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.intake.submit(call())
        frame = await worker.infer()
    async with opened_dispatch(tmp_path / "db", slow_grace(), clock, start=1000) as rig:
        again = ScriptedWorker(rig)
        again.epoch = worker.epoch
        with pytest.raises(SessionInactive):
            await again.say(result(frame))
        reply = await again.register(holding=[Holding(task_id=frame.task_id, attempt=1, ended=True)])
        assert [(entry.task_id, entry.have_seq) for entry in reply.resume] == [(frame.task_id, 0)]
        assert await again.say(result(frame)) == []
        assert await status_of(rig, frame.task_id) == (Status.COMPLETED, 1, 0)


async def test_a_worker_that_does_not_return_after_a_restart_loses_its_tasks(tmp_path: Path) -> None:
    clock = SettableClock()
    async with opened_dispatch(tmp_path / "db", clock=clock) as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.intake.submit(call())
        frame = await worker.infer()
    async with opened_dispatch(tmp_path / "db", OPTIONS, clock, start=1000) as rig:
        await rig.dispatch.poll.tick()
        assert await status_of(rig, frame.task_id) == (Status.PENDING, 1, 0)
        assert rig.dispatch.backlog.counts.tasks == 1


def slow_grace() -> DispatchOptions:
    """A grace that does not end while the test runs."""
    return msgspec.structs.replace(OPTIONS, grace_s=3600.0)


async def test_an_engine_that_went_away_is_given_nothing(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        away = LlmStatusChanged(llm_name="small@box", status=LlmStatus.INACTIVE, slots=1)
        assert await worker.say(away) == []
        ticket = await rig.dispatch.intake.submit(call())
        assert ticket.status is Status.PENDING
        assert rig.dispatch.catalog.models() == []
        await worker.say(msgspec.structs.replace(away, status=LlmStatus.ACTIVE))
        assert (await worker.infer()).task_id == ticket.task_id


async def test_a_failure_lets_nobody_in_where_its_batch_says_that_the_engine_is_away(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        first, second = [await rig.dispatch.intake.submit(call()) for _ in range(2)]
        attempt = (await worker.infer()).attempt
        away = LlmStatusChanged(llm_name="small@box", status=LlmStatus.INACTIVE, slots=1)
        failure = Failed(task_id=first.task_id, attempt=attempt, code="engine_error", message="refused")
        assert await worker.say(away, failure) == []
        assert await status_of(rig, first.task_id) == (Status.PENDING, 1, 1)
        assert await status_of(rig, second.task_id) == (Status.PENDING, 0, 0)


async def test_a_status_that_arrives_late_brings_no_older_state_back(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        away = LlmStatusChanged(llm_name="small@box", status=LlmStatus.INACTIVE, slots=1, revision=1)
        await worker.say(msgspec.structs.replace(away, status=LlmStatus.ACTIVE, revision=2))
        await worker.say(away)
        assert [entry.name for entry in rig.dispatch.catalog.models()] == ["small", "small@box"]


async def test_llms_of_one_engine_share_its_slots(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).join(offer("a@box", pool="a"), offer("b@box", pool="b"))
        first = await rig.dispatch.intake.submit(call(model="a"))
        second = await rig.dispatch.intake.submit(call(model="b"))
        assert (first.status, second.status) == (Status.CLAIMED, Status.PENDING)


async def test_a_silent_worker_loses_its_channel(tmp_path: Path) -> None:
    options = msgspec.structs.replace(OPTIONS, silence_s=0.0, grace_s=3600.0)
    async with opened_dispatch(tmp_path / "db", options) as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.poll.tick()
        assert rig.dispatch.catalog.sessions[worker.session_id].channel is None
