"""Sessions speak to any server, move from one to another, outlive the one that served them."""

import msgspec
import pytest

from inferpool.core.errors import SessionInactive, SessionReplaced
from inferpool.core.llm import LlmStatus
from inferpool.wire.sessions import Holding, LlmStatusChanged
from tests.dispatch.rig import PATIENCE_S, ScriptedWorker, call, chunk, result, started
from tests.dispatch.servers import opened_servers, speak_at, until
from tests.dispatch.test_servers import joined
from tests.dispatch.test_streams import payloads

pytestmark = pytest.mark.anyio


async def test_events_reach_the_session_by_way_of_any_server() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call(streaming=True))
        watcher = ticket.watcher
        assert watcher is not None
        frame = await worker.infer()
        speak_at(worker, second)
        assert await worker.say(started(frame), chunk(frame, 1)) == []
        assert await watcher.wait(PATIENCE_S)
        assert payloads(watcher.take()) == ["payload 1"]
        speak_at(worker, first)
        assert await worker.say(chunk(frame, 2)) == []
        speak_at(worker, second)
        [refused] = await worker.say(chunk(frame, 3))
        assert (refused.reason, refused.have_seq) == ("gap", 1)
        assert await worker.say(chunk(frame, 2), chunk(frame, 3), result(frame, last_seq=3)) == []
        await until(lambda: watcher.outcome)
        assert payloads(watcher.take()) == ["payload 2", "payload 3"]
        await until(lambda: not first.dispatch.catalog.sessions[worker.session_id].held)
        await first.dispatch.intake.submit(call())
        assert (await worker.infer()).task_id != frame.task_id


async def test_an_end_told_to_another_server_frees_the_slot_although_no_hint_arrives() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        await first.dispatch.intake.submit(call())
        frame = await worker.infer()
        site.lose_everything()
        speak_at(worker, second)
        await worker.say(result(frame))
        assert first.dispatch.catalog.sessions[worker.session_id].held
        await first.tick()
        assert not first.dispatch.catalog.sessions[worker.session_id].held


async def test_who_speaks_elsewhere_is_heard_by_its_own_server() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        session = first.dispatch.catalog.sessions[worker.session_id]
        session.heard_at = before = session.heard_at - 100
        speak_at(worker, second)
        await worker.say()
        await second.tick()
        await until(lambda: session.heard_at > before)


async def test_a_stranger_does_not_speak_for_the_session_of_another_server() -> None:
    async with opened_servers() as site:
        _, second, worker = await joined(site)
        speak_at(worker, second)
        worker.epoch += 1
        with pytest.raises(SessionReplaced) as refused:
            await worker.say()
        assert refused.value.epoch == 1
        nobody = ScriptedWorker(second, 77)
        with pytest.raises(SessionInactive):
            await nobody.say()


async def test_a_worker_that_registers_elsewhere_keeps_its_session_with_what_it_runs() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call(streaming=True))
        watcher = ticket.watcher
        assert watcher is not None
        frame = await worker.infer()
        await worker.say(started(frame), chunk(frame, 1))
        speak_at(worker, second)
        reply = await worker.register(holding=[Holding(task_id=frame.task_id, attempt=1, last_seq=1, ended=False)])
        assert [(one.task_id, one.have_seq) for one in reply.resume] == [(frame.task_id, 0)]
        await worker.bind()
        await until(lambda: worker.session_id not in first.dispatch.catalog.sessions)
        assert await worker.say(chunk(frame, 1), chunk(frame, 2)) == []
        await first.tick()
        seen: list[str] = []
        while len(seen) < 2:
            assert await watcher.wait(PATIENCE_S)
            seen += payloads(watcher.take())
        assert seen == ["payload 1", "payload 2"]
        assert await worker.say(result(frame, last_seq=2)) == []
        await until(lambda: watcher.outcome)


async def test_a_channel_binds_at_another_server_than_the_one_that_registered_it() -> None:
    async with opened_servers() as site:
        first, second = site.servers
        worker = ScriptedWorker(first)
        await worker.register()
        speak_at(worker, second)
        await worker.bind()
        await until(lambda: worker.session_id not in first.dispatch.catalog.sessions)
        await first.dispatch.intake.submit(call())
        await worker.infer()
        speak_at(worker, first)
        with pytest.raises(SessionInactive):
            await worker.bind()


async def test_an_engine_that_goes_away_is_known_at_every_server() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        speak_at(worker, second)
        await worker.say(LlmStatusChanged(llm_name="small@box", status=LlmStatus.INACTIVE, slots=1))
        await until(lambda: not first.dispatch.catalog.models())
        assert first.dispatch.catalog.sessions[worker.session_id].llms["small@box"].status is LlmStatus.INACTIVE
        await worker.say(LlmStatusChanged(llm_name="small@box", status=LlmStatus.ACTIVE, slots=2))
        await until(lambda: first.dispatch.catalog.models() and second.dispatch.catalog.models())
        for _ in range(2):
            await first.dispatch.intake.submit(msgspec.structs.replace(call(), watched=False))
            await worker.infer()


async def test_a_leave_at_another_server_ends_with_the_channel() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        await second.dispatch.desk.leave(worker.session_id)
        await until(lambda: first.dispatch.catalog.sessions[worker.session_id].leaving)
        worker.break_channel()
        await until(lambda: worker.session_id not in first.dispatch.catalog.sessions)
        assert site.desk.sql("SELECT active FROM sessions") == [(0,)]


async def test_what_a_dead_server_held_is_rescued_by_another() -> None:
    async with opened_servers(3) as site:
        first, second, third = site.servers
        worker = await ScriptedWorker(first).join()
        await until(lambda: second.dispatch.catalog.llm("small@box"))
        ticket = await second.dispatch.intake.submit(call())
        await worker.infer()
        sibling = await ScriptedWorker(third, 2).join_elsewhere()
        site.desk.script("DELETE FROM servers WHERE id = (SELECT server_id FROM sessions ORDER BY id LIMIT 1)")
        await second.tick()  # finds the orphan, whose grace begins
        assert not sibling.frames
        await second.tick()
        frame = await sibling.infer()
        assert (frame.task_id, frame.attempt) == (ticket.task_id, 2)
        assert site.desk.sql("SELECT tries FROM tasks") == [(0,)]
        await third.tick()
        await sibling.say(result(frame))
        assert ticket.watcher is not None
        assert await ticket.watcher.end(PATIENCE_S) is not None
