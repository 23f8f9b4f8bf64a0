"""Servers of one database work as one: whoever asks, whoever serves, whatever gets lost between them."""

import msgspec
import pytest

from inferpool.core.errors import LlmUnavailable
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.stream import Place
from inferpool.core.task import QueueMode
from inferpool.dispatch.strand import Ended
from inferpool.wire.sessions import Failed
from tests.dispatch.rig import OPTIONS, PATIENCE_S, ScriptedWorker, call, chunk, result, started
from tests.dispatch.servers import Server, Site, opened_servers, speak_at, until
from tests.dispatch.test_streams import payloads
from tests.store.builders import new_id

pytestmark = pytest.mark.anyio


async def joined(site: Site, slots: int = 1) -> tuple[Server, Server, ScriptedWorker]:
    """The server of a worker, another one that knows of it, the worker."""
    first, second = site.servers
    worker = await ScriptedWorker(first).join_with(slots)
    await until(lambda: second.dispatch.catalog.llm("small@box"))
    return first, second, worker


async def test_a_caller_at_one_server_is_answered_by_the_worker_of_another() -> None:
    async with opened_servers() as site:
        _, second, worker = await joined(site)
        ticket = await second.dispatch.intake.submit(call())
        await worker.say(result(await worker.infer(), "whole"))
        assert ticket.watcher is not None
        outcome = await ticket.watcher.end(PATIENCE_S)
        assert outcome is not None
        assert outcome.answer is not None
        assert (outcome.status, outcome.answer.body) == (Status.COMPLETED, b"whole")


async def test_a_call_whose_row_is_still_being_written_is_not_taken_for_a_deleted_one() -> None:
    async with opened_servers() as site:
        server = site.servers[0]
        watcher = server.dispatch.feed.follow(TaskId(new_id()))
        await server.tick()
        assert watcher.take() == []
        server.dispatch.feed.stored(watcher.task_id)
        await server.tick()
        [end] = watcher.take()
        assert isinstance(end, Ended)
        assert end.outcome.status is Status.CANCELLED


async def test_chunks_reach_a_caller_at_another_server_one_by_one_before_the_end() -> None:
    async with opened_servers() as site:
        _, second, worker = await joined(site)
        ticket = await second.dispatch.intake.submit(call(streaming=True))
        watcher = ticket.watcher
        assert watcher is not None
        frame = await worker.infer()
        await worker.say(started(frame))
        await until(lambda: watcher.head is not None)
        for seq in (1, 2):
            await worker.say(chunk(frame, seq))
            assert await watcher.wait(PATIENCE_S)
            assert payloads(watcher.take()) == [f"payload {seq}"]
        await worker.say(chunk(frame, 3, "y" * 30_000), result(frame, last_seq=3))
        await until(lambda: watcher.outcome)
        news = watcher.take()
        assert payloads(news) == ["y" * 30_000]
        assert isinstance(news[-1], Ended)


async def test_a_watcher_that_comes_to_another_server_goes_on_where_it_stopped() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call(streaming=True))
        frame = await worker.infer()
        await worker.say(started(frame), chunk(frame, 1), chunk(frame, 2))
        watcher = await second.dispatch.feed.watch(ticket.task_id, Place(1, 1), streamed=True)
        assert await watcher.wait(PATIENCE_S)
        assert payloads(watcher.take()) == ["payload 2"]
        watcher.close()
        assert second.dispatch.feed.find(ticket.task_id) is None


async def test_without_any_hint_a_caller_at_another_server_is_answered_by_the_polls() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        site.lose_everything()
        ticket = await second.dispatch.intake.submit(call(streaming=True))
        assert ticket.watcher is not None
        await first.tick()
        frame = await worker.infer()
        await worker.say(started(frame), chunk(frame, 1), result(frame, last_seq=1))
        assert ticket.watcher.outcome is None
        await second.tick()
        news = ticket.watcher.take()
        assert payloads(news) == ["payload 1"]
        assert isinstance(news[-1], Ended)


async def test_chunks_that_were_lost_on_the_way_are_asked_for_by_the_poll() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await second.dispatch.intake.submit(call(streaming=True))
        watcher = ticket.watcher
        assert watcher is not None
        frame = await worker.infer()
        second.signals.deaf = True
        await worker.say(started(frame), chunk(frame, 1), chunk(frame, 2))
        await until(lambda: any('"chunks"' in note.text for note in first.signals.sent))
        second.signals.deaf = False
        assert watcher.take() == []
        await second.tick()
        assert await watcher.wait(PATIENCE_S)
        assert payloads(watcher.take()) == ["payload 1", "payload 2"]


async def test_a_later_chunk_that_arrives_alone_has_those_before_it_sent_again() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await second.dispatch.intake.submit(call(streaming=True))
        watcher = ticket.watcher
        assert watcher is not None
        frame = await worker.infer()
        second.signals.deaf = True
        await worker.say(started(frame), chunk(frame, 1))
        await until(lambda: any('"payload 1"' in note.text for note in first.signals.sent))
        second.signals.deaf = False
        await worker.say(chunk(frame, 2))
        seen: list[str] = []
        while len(seen) < 2:
            assert await watcher.wait(PATIENCE_S)
            seen += payloads(watcher.take())
        assert seen == ["payload 1", "payload 2"]


async def test_a_cancel_at_one_server_stops_the_engine_behind_another() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await second.dispatch.intake.submit(call())
        frame = await worker.infer()
        await second.dispatch.intake.cancel(ticket.task_id, None)
        stopped = await worker.cancel()
        assert (stopped.task_id, stopped.attempt) == (frame.task_id, 1)
        assert first.dispatch.catalog.sessions[worker.session_id].held


async def test_a_cancel_of_which_nobody_told_is_found_by_the_poll() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call())
        await worker.infer()
        site.lose_everything()
        await second.dispatch.intake.cancel(ticket.task_id, None)
        await first.tick()
        assert (await worker.cancel()).task_id == ticket.task_id


async def test_live_and_never_know_the_sessions_of_other_servers() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        await first.tick()
        await until(lambda: second.dispatch.peers.free("pool:small") == 1)
        never = msgspec.structs.replace(call(), mode=QueueMode.NEVER)
        ticket = await second.dispatch.intake.submit(never)
        await worker.infer()
        assert ticket.watcher is not None
        live = msgspec.structs.replace(call(), mode=QueueMode.LIVE)
        await second.dispatch.intake.submit(live)
        await first.tick()
        await until(lambda: not second.dispatch.peers.free("pool:small"))
        with pytest.raises(LlmUnavailable):
            await second.dispatch.intake.submit(never)
        worker.break_channel()
        session = first.dispatch.catalog.sessions[worker.session_id]
        await first.dispatch.losses.lose(session, counts=True)
        await until(lambda: not second.dispatch.catalog.models())
        with pytest.raises(LlmUnavailable):
            await second.dispatch.intake.submit(live)


async def test_what_waits_is_counted_by_every_server() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        for _ in range(3):
            await second.dispatch.intake.submit(msgspec.structs.replace(call(), watched=False))
        await worker.infer()
        for server in (second, first, second):
            await server.tick()
        await until(lambda: first.dispatch.backlog.pending("pool:small") == 2)
        await until(lambda: second.dispatch.backlog.pending("pool:small") == 2)
        [view] = await second.dispatch.pools.views(["small"])
        assert (view.slots, view.running, view.pending) == (1, 1, 2)


async def test_one_owner_gets_no_third_share_by_asking_two_servers() -> None:
    async with opened_servers(options=OPTIONS) as site:
        first, second = site.servers
        await ScriptedWorker(first).register()  # nobody takes anything
        await until(lambda: second.dispatch.catalog.llm("small@box"))
        for server in site.servers:
            for _ in range(3):
                await server.dispatch.intake.submit(msgspec.structs.replace(call(), watched=False))
            await server.tick()
        await until(lambda: {one.dispatch.backlog.pending("pool:small") for one in site.servers} == {6})
        await first.dispatch.intake.submit(msgspec.structs.replace(call(), watched=False))
        [(highest,)] = site.desk.sql("SELECT max(rank) FROM tasks")
        assert highest == 7 * 0.25


async def test_a_lone_server_tells_nobody_anything() -> None:
    async with opened_servers(1) as site:
        [server] = site.servers
        worker = await ScriptedWorker(server).join()
        await server.dispatch.intake.submit(call())
        await server.dispatch.intake.submit(call())
        await worker.say(result(await worker.infer()))
        await worker.infer()
        assert server.signals.sent == []


@pytest.mark.parametrize("told", [True, False], ids=["told", "found by the poll"])
async def test_a_caller_beside_its_worker_hears_of_a_cancel_at_another_server(told: bool) -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call())
        await worker.infer()
        if not told:
            site.lose_everything()
        await second.dispatch.intake.cancel(ticket.task_id, None)
        if not told:
            await first.tick()
        assert ticket.watcher is not None
        outcome = await ticket.watcher.end(PATIENCE_S)
        assert outcome is not None
        assert outcome.status is Status.CANCELLED


async def test_a_retry_told_to_another_server_runs_for_the_caller_that_waits_beside_the_worker() -> None:
    async with opened_servers() as site:
        first, second, worker = await joined(site)
        ticket = await first.dispatch.intake.submit(call(streaming=True))
        frame = await worker.infer()
        speak_at(worker, second)
        await worker.say(Failed(task_id=frame.task_id, attempt=1, code="engine_error", message="it fell over"))
        await until(lambda: not first.dispatch.catalog.sessions[worker.session_id].held)
        site.desk.script("UPDATE test_clock SET now = now + 3000000")
        await second.tick()
        again = await worker.infer()
        assert (again.task_id, again.attempt) == (ticket.task_id, 2)
        speak_at(worker, first)
        await worker.say(started(again), chunk(again, 1), result(again, last_seq=1))
        assert ticket.watcher is not None
        await until(lambda: ticket.watcher and ticket.watcher.outcome)
        assert payloads(ticket.watcher.take()) == ["payload 1"]


async def test_servers_that_died_long_ago_are_forgotten() -> None:
    async with opened_servers() as site:
        first, _ = site.servers
        site.desk.script(f"UPDATE test_clock SET now = now + {OPTIONS.forget_after + 1}")
        await first.dispatch.heartbeat.beat()
        duty = next(one for one in first.dispatch.sweeps.duties() if one.name == "old servers")
        assert await first.dispatch.sweeps.sweep(duty) == 1
        assert site.desk.sql("SELECT count(*) FROM servers") == [(1,)]
