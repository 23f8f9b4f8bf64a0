"""A call becomes a durable task, a free slot takes it, its answer wakes the caller."""

from pathlib import Path

import msgspec
import pytest

from inferpool.core.errors import Code, LlmUnavailable, ModelNotFound, NotFound, QueueFull, ShuttingDown
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.task import QueueMode
from inferpool.wire.sessions import Failed, Returned
from tests.dispatch.rig import OPTIONS, ScriptedWorker, call, offer, opened_dispatch, result, turn

pytestmark = pytest.mark.anyio


async def test_a_call_is_answered_with_the_engines_bytes(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        ticket = await rig.dispatch.intake.submit(call())
        assert ticket.watcher is not None
        assert ticket.status is Status.CLAIMED
        await worker.say(result(await worker.infer(), "the answer"))
        outcome = await ticket.watcher.end()
        assert outcome is not None
        assert outcome.answer is not None
        assert outcome.answer.body == b"the answer"
        row = await rig.dispatch.reader.row(ticket.task_id)
        assert row is not None
        assert (row.status, row.attempt) == (Status.COMPLETED, 1)


async def test_a_call_without_a_free_slot_waits_its_turn(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        first = await rig.dispatch.intake.submit(call("one"))
        second = await rig.dispatch.intake.submit(call("two"))
        assert (first.status, second.status) == (Status.CLAIMED, Status.PENDING)
        await worker.say(result(await worker.infer()))
        frame = await worker.infer()
        assert (frame.task_id, frame.attempt) == (second.task_id, 1)


async def test_a_new_call_never_overtakes_one_that_waits(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join(offer(slots=1))
        tickets = [await rig.dispatch.intake.submit(call(str(number))) for number in range(5)]
        order = []
        for _ in tickets:
            frame = await worker.infer()
            order.append(frame.task_id)
            await worker.say(result(frame))
        assert order == [ticket.task_id for ticket in tickets]


async def test_a_call_before_any_worker_is_an_unknown_model(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        with pytest.raises(ModelNotFound, match="no model is published"):
            await rig.dispatch.intake.submit(call())
        await ScriptedWorker(rig).join()
        with pytest.raises(ModelNotFound, match="did you mean 'small'"):
            await rig.dispatch.intake.submit(call(model="smal"))


async def test_a_pin_names_an_llm_and_nothing_else(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).join()
        with pytest.raises(NotFound, match="a pin names an llm"):
            await rig.dispatch.intake.submit(msgspec.structs.replace(call(), pin=True))
        pinned = msgspec.structs.replace(call(model="small@box"), pin=True)
        ticket = await rig.dispatch.intake.submit(pinned)
        row = await rig.dispatch.reader.row(ticket.task_id)
        assert row is not None
        assert row.lane == "llm:small@box"


async def test_a_waiting_task_goes_to_the_worker_that_binds(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = ScriptedWorker(rig)
        await worker.register(offer(slots=2))
        tickets = [await rig.dispatch.intake.submit(call(str(number))) for number in range(3)]
        assert {ticket.status for ticket in tickets} == {Status.PENDING}
        await worker.bind()
        got = {(await worker.infer()).task_id, (await worker.infer()).task_id}
        assert got == {tickets[0].task_id, tickets[1].task_id}
        await turn()
        assert not worker.frames


async def test_a_live_call_without_a_live_worker_leaves_no_row(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.desk.leave(worker.who)
        live = msgspec.structs.replace(call(), mode=QueueMode.LIVE)
        with pytest.raises(LlmUnavailable):
            await rig.dispatch.intake.submit(live)
        assert rig.dispatch.backlog.counts.tasks == 0


async def test_a_never_call_needs_a_slot_that_is_free_now(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).join()
        never = msgspec.structs.replace(call(), mode=QueueMode.NEVER)
        assert (await rig.dispatch.intake.submit(never)).status is Status.CLAIMED
        with pytest.raises(LlmUnavailable, match="no slot"):
            await rig.dispatch.intake.submit(never)


async def test_a_full_queue_refuses_and_says_when_to_come_back(tmp_path: Path) -> None:
    options = msgspec.structs.replace(OPTIONS, queue_tasks=2)
    async with opened_dispatch(tmp_path / "db", options) as rig:
        worker = ScriptedWorker(rig)
        await worker.register()
        for _ in range(2):
            await rig.dispatch.intake.submit(call())
        with pytest.raises(QueueFull) as refused:
            await rig.dispatch.intake.submit(call())
        assert refused.value.retry_after_s > 0


async def test_a_draining_server_takes_no_call(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await rig.dispatch.drain(0)
        with pytest.raises(ShuttingDown):
            await rig.dispatch.intake.submit(call())


async def test_a_failed_attempt_is_tried_again_until_no_try_is_left(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        ticket = await rig.dispatch.intake.submit(msgspec.structs.replace(call(), max_tries=2))
        assert ticket.watcher is not None
        frame = await worker.infer()
        failure = Failed(task_id=frame.task_id, attempt=frame.attempt, code="engine_error", message="refused")
        await worker.say(failure)
        rig.clock.advance(60_000_000)
        await rig.dispatch.poll.tick()
        frame = await worker.infer()
        assert frame.attempt == 2
        await worker.say(result(frame, "busy", status=500))
        outcome = await ticket.watcher.end()
        assert outcome is not None
        assert outcome.answer is not None
        assert outcome.fault is not None
        assert (outcome.status, outcome.answer.status, outcome.answer.body) == (Status.ERROR, 500, b"busy")
        assert outcome.fault.code is Code.ENGINE_ERROR


async def test_a_returned_attempt_waits_again_at_no_cost(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.intake.submit(call())
        frame = await worker.infer()
        assert await worker.say(Returned(task_id=frame.task_id, attempt=frame.attempt)) == []
        again = await worker.infer()
        assert (again.task_id, again.attempt) == (frame.task_id, 2)
        row = await rig.dispatch.reader.row(TaskId(again.task_id))
        assert row is not None
        assert row.tries == 0
