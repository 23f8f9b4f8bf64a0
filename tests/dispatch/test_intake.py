"""Idempotency, cancel, replay, purge: the callers' other verbs."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from inferpool.core.clock import DAY, HOUR
from inferpool.core.errors import Conflict, NotFound
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.task import Usage
from inferpool.dispatch.calls import Call
from tests.dispatch.rig import ScriptedWorker, call, opened_dispatch, result, turn
from tests.store.builders import kept_llm

pytestmark = pytest.mark.anyio


def keyed(text: str = "hello") -> Call:
    """A call with an idempotency key."""
    return msgspec.structs.replace(call(text), idempotency_key="k")


async def test_a_repeat_attaches_to_the_same_task(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        first = await rig.dispatch.intake.submit(keyed())
        second = await rig.dispatch.intake.submit(keyed())
        assert (second.task_id, second.created) == (first.task_id, False)
        assert second.watcher is not None
        await worker.say(result(await worker.infer(), "once"))
        outcome = await second.watcher.end()
        assert outcome is not None
        assert outcome.answer is not None
        assert outcome.answer.body == b"once"
        done = await rig.dispatch.intake.submit(keyed())
        assert done.task_id == first.task_id


async def test_one_key_with_two_bodies_is_a_conflict(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).join_with(2)
        await rig.dispatch.intake.submit(keyed("one"))
        with pytest.raises(Conflict):
            await rig.dispatch.intake.submit(keyed("two"))
        session = next(iter(rig.dispatch.catalog.sessions.values()))
        assert session.engines["e"].free == 1


async def test_a_call_that_is_given_up_while_it_is_stored_is_cancelled(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).join()
        asking = asyncio.get_running_loop().create_task(rig.dispatch.intake.submit(call()))
        await turn(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await turn()
        session = next(iter(rig.dispatch.catalog.sessions.values()))
        assert [held.state.name for held in session.held.values() if held.state.name != "STOPPING"] == []


async def test_only_its_owner_cancels_a_task(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        ticket = await rig.dispatch.intake.submit(call())
        with pytest.raises(NotFound):
            await rig.dispatch.intake.cancel(ticket.task_id, "a stranger")
        with pytest.raises(NotFound):
            await rig.dispatch.intake.cancel(TaskId("01900000-0000-7000-8000-00000000ffff"), None)
        assert (await rig.dispatch.intake.cancel(ticket.task_id, None)).status is Status.CANCELLED
        assert (await worker.infer()).task_id == ticket.task_id
        assert (await worker.cancel()).attempt == 1
        assert ticket.watcher is not None
        outcome = await ticket.watcher.end()
        assert outcome is not None
        assert outcome.status is Status.CANCELLED


async def test_a_cancelled_task_replays_under_its_next_attempt(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = ScriptedWorker(rig)
        await worker.register()
        ticket = await rig.dispatch.intake.submit(call())
        await rig.dispatch.intake.cancel(ticket.task_id, "local")
        assert rig.dispatch.backlog.counts.tasks == 0
        row = await rig.dispatch.intake.replay(ticket.task_id, "local")
        assert row.status is Status.PENDING
        await worker.bind()
        await worker.say(result(await worker.infer(), "replayed"))
        with pytest.raises(Conflict):
            await rig.dispatch.intake.replay(ticket.task_id, "local")
        watcher = await rig.dispatch.feed.watch(ticket.task_id)
        outcome = await watcher.end()
        assert outcome is not None
        assert outcome.answer is not None
        assert outcome.answer.body == b"replayed"


async def test_a_purge_waits_for_the_end(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).join()
        ticket = await rig.dispatch.intake.submit(call())
        with pytest.raises(Conflict):
            await rig.dispatch.intake.purge(ticket.task_id, "local")
        await rig.dispatch.intake.cancel(ticket.task_id, "local")
        await rig.dispatch.intake.purge(ticket.task_id, "local")
        with pytest.raises(NotFound):
            await rig.dispatch.feed.watch(ticket.task_id)


async def test_a_waiting_task_expires_and_its_caller_hears_of_it(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).register()
        ticket = await rig.dispatch.intake.submit(call())
        rig.clock.advance(HOUR + 1)
        await rig.dispatch.poll.tick()
        assert ticket.watcher is not None
        outcome = await ticket.watcher.end()
        assert outcome is not None
        assert outcome.fault is not None
        assert outcome.fault.code == "expired"
        assert "3600 s" in outcome.fault.message
        assert rig.dispatch.backlog.counts.tasks == 0


async def test_a_run_past_its_limit_ends_and_its_engine_stops(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        ticket = await rig.dispatch.intake.submit(call())
        await worker.infer()
        rig.clock.advance(HOUR + 1)
        await rig.dispatch.poll.tick()
        assert (await worker.cancel()).task_id == ticket.task_id
        assert ticket.watcher is not None
        outcome = await ticket.watcher.end()
        assert outcome is not None
        assert outcome.fault is not None
        assert outcome.fault.code == "engine_timeout"


async def test_a_slot_is_free_again_when_its_worker_never_says_stopped(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        ticket = await rig.dispatch.intake.submit(call())
        await worker.infer()
        await rig.dispatch.intake.cancel(ticket.task_id, "local")
        session = rig.dispatch.catalog.sessions[worker.session_id]
        assert session.engines["e"].free == 0
        next(iter(session.held.values())).stopping_at -= rig.dispatch.options.slot_release_s + 1
        await rig.dispatch.poll.tick()
        assert session.engines["e"].free == 1


async def test_sweeps_remove_what_is_old_and_then_nothing(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        ticket = await rig.dispatch.intake.submit(keyed())
        await worker.say(result(await worker.infer()))
        worker.break_channel()
        await turn()
        await rig.dispatch.poll.tick()
        rig.clock.advance(8 * DAY)
        duties = rig.dispatch.sweeps.duties()
        assert sum([await rig.dispatch.sweeps.sweep(duty) for duty in duties]) >= 3
        assert sum([await rig.dispatch.sweeps.sweep(duty) for duty in duties]) == 0
        assert await rig.dispatch.reader.row(ticket.task_id) is None
        assert await kept_llm(rig.dispatch.reader, "small@box") is None


async def test_tokens_of_a_flow_weigh_its_next_tasks(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.intake.submit(call())
        answer = msgspec.structs.replace(result(await worker.infer()), usage=Usage(10, 20))
        assert await worker.say(answer) == []
        worker.break_channel()
        await turn()
        waiting = await rig.dispatch.intake.submit(call())
        row = await rig.dispatch.reader.row(waiting.task_id)
        assert row is not None
        assert row.rank > 0


async def test_a_task_that_a_free_slot_takes_at_once_stands_before_nobody(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        ranker = rig.dispatch.backlog.ranker
        ticket = await rig.dispatch.intake.submit(call())
        await worker.infer()
        row = await rig.dispatch.reader.row(ticket.task_id)
        assert row is not None
        assert row.status is Status.CLAIMED
        assert (row.rank, ranker.clock(row.lane), ranker.flow_count()) == (0.0, 0.0, 0)
