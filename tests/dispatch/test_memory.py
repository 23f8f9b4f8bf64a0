"""What the feed remembers is forgotten with the last that needs it, whatever was repeated, dropped, or registered anew."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from inferpool.core.errors import ShuttingDown
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.wire.sessions import Holding, Infer, RegisterRequest, WorkerInfo
from tests.dispatch.rig import SECRET, Rig, ScriptedWorker, call, chunk, opened_dispatch, result, started, turn

pytestmark = pytest.mark.anyio


async def running(rig: Rig, worker: ScriptedWorker) -> Infer:
    """A streamed attempt of a task that nobody watches."""
    ticket = await rig.dispatch.intake.submit(call(streaming=True))
    assert ticket.watcher is not None
    ticket.watcher.close(by_server=True)
    frame = await worker.infer()
    await worker.say(started(frame), chunk(frame, 1))
    return frame


async def test_an_attempt_that_a_registration_drops_is_not_remembered(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        frame = await running(rig, worker)
        await rig.dispatch.intake.cancel(TaskId(frame.task_id), None)
        await turn()
        reply = await worker.register(holding=[Holding(task_id=frame.task_id, attempt=frame.attempt, last_seq=1)])
        assert [dropped.task_id for dropped in reply.drop] == [frame.task_id]
        assert rig.dispatch.feed.find(TaskId(frame.task_id)) is None


async def test_chunks_that_are_repeated_after_the_end_are_not_counted(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        frame = await running(rig, worker)
        holding = Holding(task_id=frame.task_id, attempt=frame.attempt, last_seq=1, ended=True)
        older = worker.who
        registering = asyncio.ensure_future(worker.register(holding=[holding]))
        await turn(1)
        said = rig.dispatch.desk.take(older, [result(frame, last_seq=1)])  # the registration is not through yet
        assert await said == []
        assert [resumed.task_id for resumed in (await registering).resume] == [frame.task_id]
        assert [one.reason for one in await worker.say(chunk(frame, 1))] == ["stale"]
        assert await worker.say(result(frame, last_seq=1)) == []
        assert rig.dispatch.feed.size == 0
        assert rig.dispatch.feed.find(TaskId(frame.task_id)) is None


async def test_a_worker_that_comes_back_without_its_engine_keeps_its_names_known(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        nothing = RegisterRequest(session_id=worker.session_id, epoch=2, worker=WorkerInfo(name="box"))
        await rig.dispatch.desk.register(nothing, SECRET, "local")
        await rig.dispatch.intake.submit(msgspec.structs.replace(call(model="small@box"), watched=False))
    async with opened_dispatch(tmp_path / "db", start=1000) as rig:
        ticket = await rig.dispatch.intake.submit(msgspec.structs.replace(call(model="small@box"), watched=False))
        assert ticket.status is Status.PENDING


async def test_a_bind_that_comes_through_while_the_server_closes_opens_no_channel(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = ScriptedWorker(rig)
        await worker.register()
        binding = asyncio.ensure_future(rig.dispatch.desk.bind(worker.who))
        await turn(1)
        await rig.dispatch.close()
        with pytest.raises(ShuttingDown):
            await binding
        assert all(session.channel is None for session in rig.dispatch.catalog.sessions.values())
