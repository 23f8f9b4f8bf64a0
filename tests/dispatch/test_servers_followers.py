"""Whoever follows a task at one server sees its end, its chunks, wherever its attempts ran meanwhile.

Each of these was found by the simulation with several servers.
"""

import pytest

from inferpool.core.lifecycle import Status
from inferpool.core.llm import LlmStatus
from inferpool.core.stream import Place
from inferpool.dispatch.live import LiveSession
from inferpool.dispatch.notes import TaskEnded
from inferpool.dispatch.slots import Held
from inferpool.dispatch.strand import Ended
from inferpool.wire.sessions import Failed, Holding, LlmStatusChanged
from tests.dispatch.rig import PATIENCE_S, ScriptedWorker, call, chunk, result, started
from tests.dispatch.servers import opened_servers, speak_at, until
from tests.dispatch.test_servers import joined
from tests.dispatch.test_streams import payloads

pytestmark = pytest.mark.anyio


async def test_a_task_that_ended_where_nobody_knows_who_follows_it_is_followed_by_nobody() -> None:
    async with opened_servers() as site:
        first, second, _ = await joined(site)
        await first.dispatch.intake.submit(call())
        ticket = await second.dispatch.intake.submit(call())
        interest = first.dispatch.net._announcer.interest
        await until(lambda: ticket.task_id in interest)
        await second.dispatch.intake.cancel(ticket.task_id, None)
        first.dispatch.net.missed()
        await first.tick()
        assert ticket.task_id not in interest


async def test_a_stream_that_is_followed_when_its_end_is_known_by_another_servers_word_is_whole() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call(streaming=True))
        frame = await worker.infer()
        waiting = await second.dispatch.feed.watch(ticket.task_id)
        site.lose_everything()
        await worker.say(started(frame), chunk(frame, 1), result(frame, last_seq=1))
        await second.tick()
        assert waiting.outcome is not None
        watcher = await second.dispatch.feed.watch(ticket.task_id, streamed=True)
        news = watcher.take()
        assert payloads(news) == ["payload 1"]
        assert isinstance(news[-1], Ended)


async def test_a_session_that_moves_to_a_server_it_spoke_to_leaves_no_attempt_behind_there() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call())
        watcher = await second.dispatch.feed.watch(ticket.task_id)
        frame = await worker.infer()
        speak_at(worker, second)
        await worker.say(started(frame))
        site.lose_everything()
        worker.break_channel()
        await first.dispatch.losses.lose(first.dispatch.catalog.sessions[worker.session_id], counts=True)
        await worker.register()
        sibling = await ScriptedWorker(first, 2).join_elsewhere()
        await first.tick()
        await sibling.say(result(await sibling.infer()))
        await second.tick()
        assert watcher.outcome is not None
        assert watcher.outcome.attempt == 2


async def test_who_follows_a_replayed_task_before_the_replay_is_heard_of_sees_its_new_end() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call())
        frame = await worker.infer()
        await worker.say(Failed(task_id=frame.task_id, attempt=1, code="engine_timeout", message="too long"))
        await first.dispatch.intake.replay(ticket.task_id, None)
        watcher = await second.dispatch.feed.watch(ticket.task_id)
        second.dispatch.feed.part(ticket.task_id)
        await worker.say(result(await worker.infer()))
        await until(lambda: watcher.outcome)
        assert watcher.outcome is not None
        assert (watcher.outcome.status, watcher.outcome.attempt) == (Status.COMPLETED, 2)


async def test_a_watcher_who_knows_a_newer_attempt_than_the_server_is_not_sent_back_to_the_older() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call(streaming=True))
        frame = await worker.infer()
        speak_at(worker, second)
        await worker.say(started(frame), chunk(frame, 1))
        site.lose_everything()
        speak_at(worker, first)
        await worker.say(Failed(task_id=frame.task_id, attempt=1, code="engine_error", message="it fell over"))
        site.desk.script("UPDATE test_clock SET now = now + 3000000")
        await first.tick()
        again = await worker.infer()
        await worker.say(started(again), chunk(again, 1, "anew 1"), chunk(again, 2, "anew 2"))
        watcher = await second.dispatch.feed.watch(ticket.task_id, Place(2, 1), streamed=True)
        assert watcher.take() == []
        await second.tick()  # frees what the older attempt held
        await worker.say(result(again, last_seq=2))
        await second.tick()
        news = watcher.take()
        assert payloads(news) == ["anew 2"]
        assert isinstance(news[-1], Ended)


async def test_an_end_that_is_repeated_to_another_server_ends_the_waiting_there() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call())
        watcher = await second.dispatch.feed.watch(ticket.task_id)
        frame = await worker.infer()
        speak_at(worker, second)
        await worker.say(started(frame))
        site.lose_everything()
        speak_at(worker, first)
        await worker.say(result(frame))
        speak_at(worker, second)
        await worker.say(result(frame))
        outcome = await watcher.end(PATIENCE_S)
        assert outcome is not None
        watcher.close()
        assert second.dispatch.feed.find(ticket.task_id) is None


async def test_a_session_speaks_elsewhere_under_its_newest_epoch() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        speak_at(worker, second)
        await worker.say()
        speak_at(worker, first)
        await worker.register()
        await worker.bind()
        speak_at(worker, second)
        assert await worker.say(LlmStatusChanged(llm_name="small@box", status=LlmStatus.INACTIVE, slots=1)) == []
        assert second.dispatch.catalog.guests[worker.session_id].epoch == worker.epoch
        await until(lambda: not first.dispatch.catalog.models())


async def test_an_engine_that_comes_back_by_way_of_another_server_is_found_although_no_hint_arrives() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        await worker.say(LlmStatusChanged(llm_name="small@box", status=LlmStatus.INACTIVE, slots=1, revision=1))
        site.lose_everything()
        speak_at(worker, second)
        await worker.say(LlmStatusChanged(llm_name="small@box", status=LlmStatus.ACTIVE, slots=1, revision=2))
        await second.dispatch.intake.submit(call())
        first.dispatch.net.missed()
        await first.tick()
        await until(first.dispatch.catalog.models)
        await first.tick()
        await worker.infer()


async def test_chunks_of_a_newer_attempt_elsewhere_are_kept_for_nobody() -> None:
    async with opened_servers() as site:
        _, second, worker = await joined(site)
        ticket = await second.dispatch.intake.submit(call(streaming=True))
        frame = await worker.infer()
        speak_at(worker, second)
        await worker.say(started(frame), chunk(frame, 1))
        assert ticket.watcher is not None
        ticket.watcher.close(by_server=True)
        assert second.dispatch.feed.relayed(ticket.task_id, 2, 1, ["anew 1"])
        assert second.dispatch.feed.size == 0


async def test_what_a_returning_session_must_drop_is_remembered_by_nobody() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call(streaming=True))
        frame = await worker.infer()
        speak_at(worker, second)
        await worker.say(started(frame), chunk(frame, 1))
        site.lose_everything()
        await first.dispatch.intake.cancel(ticket.task_id, None)
        reply = await worker.register(holding=[Holding(task_id=frame.task_id, attempt=1, last_seq=1, ended=False)])
        assert [one.task_id for one in reply.drop] == [ticket.task_id]
        assert second.dispatch.feed.size == 0


async def test_a_stream_is_whole_whose_end_is_told_by_a_server_that_forgot_its_chunks() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call(streaming=True))
        frame = await worker.infer()
        site.lose_everything()
        watcher = await second.dispatch.feed.watch(ticket.task_id, streamed=True)
        await worker.say(started(frame), chunk(frame, 1), result(frame, last_seq=1))
        hear = second.dispatch.bus._hear
        assert hear is not None
        hear(first.dispatch._server_id, TaskEnded(ticket.task_id, 1, 0))
        await until(lambda: watcher.outcome)
        assert payloads(watcher.take()) == ["payload 1"]


async def test_a_guest_under_a_newer_attempt_than_the_servers_own_session_is_forgotten_with_it() -> None:
    async with opened_servers() as site:
        first, _, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call(streaming=True))
        await worker.infer()
        own = first.dispatch.catalog.sessions[worker.session_id]
        guest = LiveSession(worker.session_id, 2, own.secret_hash, 0.0)
        strand = first.dispatch.feed.begin(ticket.task_id, 2)
        guest.hold(Held(ticket.task_id, 2, "small@box", guest.engine_of("small@box"), strand))
        first.dispatch.losses.release(guest, own)
        assert not strand.here
