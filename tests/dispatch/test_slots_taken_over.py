"""Claims about slots whose attempts two registrations of one session know."""

import asyncio
from pathlib import Path

import pytest

from inferpool.wire.sessions import Holding, Returned
from tests.dispatch.rig import ScriptedWorker, call, opened_dispatch, result, turn

pytestmark = pytest.mark.anyio


async def test_an_answer_that_a_registration_overtakes_frees_the_slot_there_too(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.intake.submit(call())
        frame = await worker.infer()
        before = worker.who
        held = Holding(task_id=frame.task_id, attempt=frame.attempt, last_seq=0, ended=True)
        # Both are under way at once: the store takes the registration first, then the end.
        registering = asyncio.ensure_future(worker.register(holding=[held]))
        await turn(1)
        refused, reply = await asyncio.gather(rig.dispatch.desk.take(before, [result(frame)]), registering)
        assert refused == []
        assert [one.task_id for one in reply.resume] == [frame.task_id]
        await worker.bind()
        ticket = await rig.dispatch.intake.submit(call())
        assert (await worker.infer()).task_id == ticket.task_id


async def test_a_give_back_that_a_registration_overtakes_frees_the_slot_there_too(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.intake.submit(call())
        frame = await worker.infer()
        before = worker.who
        held = Holding(task_id=frame.task_id, attempt=frame.attempt, last_seq=0, ended=True)
        returned = Returned(task_id=frame.task_id, attempt=frame.attempt)
        registering = asyncio.ensure_future(worker.register(holding=[held]))
        await turn(1)
        await asyncio.gather(rig.dispatch.desk.take(before, [returned]), registering)
        await worker.bind()
        assert (await worker.infer()).task_id == frame.task_id
