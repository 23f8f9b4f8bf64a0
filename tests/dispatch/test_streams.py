"""Chunks reach watchers in order, once, whoever comes late or comes back."""

from pathlib import Path

import msgspec
import pytest

from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.stream import Place
from inferpool.core.task import QueueMode
from inferpool.dispatch.strand import Chunks, Ended, Restarted, Seen
from inferpool.dispatch.watcher import Watcher
from inferpool.wire.sessions import Event, Infer
from tests.dispatch.rig import OPTIONS, Rig, ScriptedWorker, call, chunk, opened_dispatch, result, started, turn

pytestmark = pytest.mark.anyio


def payloads(news: list[Seen]) -> list[str]:
    """All chunks among the news."""
    return [payload for seen in news if isinstance(seen, Chunks) for payload in seen.payloads]


async def streaming(rig: Rig, worker: ScriptedWorker) -> tuple[Watcher, Infer]:
    """A streamed call that runs at the worker."""
    ticket = await rig.dispatch.intake.submit(call(streaming=True))
    assert ticket.watcher is not None
    frame = await worker.infer()
    assert await worker.say(started(frame)) == []
    return ticket.watcher, frame


async def test_chunks_arrive_in_order_before_the_end(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        watcher, frame = await streaming(rig, worker)
        assert watcher.head is not None
        assert watcher.head.status == 200
        await worker.say(chunk(frame, 1), chunk(frame, 2))
        assert payloads(watcher.take()) == ["payload 1", "payload 2"]
        await worker.say(chunk(frame, 3), result(frame, "whole", last_seq=3))
        news = watcher.take()
        assert payloads(news) == ["payload 3"]
        assert isinstance(news[-1], Ended)
        assert watcher.take() == []
        watcher.close()


async def test_a_repeated_batch_shows_nothing_twice(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        watcher, frame = await streaming(rig, worker)
        batch: list[Event] = [chunk(frame, 1), chunk(frame, 2), result(frame, last_seq=2)]
        assert await worker.say(*batch) == []
        assert await worker.say(*batch[2:]) == []
        assert payloads(watcher.take()) == ["payload 1", "payload 2"]


async def test_a_gap_is_refused_with_the_rest_of_its_attempt(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        watcher, frame = await streaming(rig, worker)
        refused = await worker.say(chunk(frame, 1), chunk(frame, 3), chunk(frame, 4), result(frame, last_seq=4))
        assert [(entry.reason, entry.have_seq) for entry in refused] == [("gap", 1)]
        assert payloads(watcher.take()) == ["payload 1"]
        assert watcher.outcome is None
        rest = [chunk(frame, seq) for seq in (2, 3, 4)]
        assert await worker.say(*rest, result(frame, last_seq=4)) == []
        assert payloads(watcher.take()) == ["payload 2", "payload 3", "payload 4"]


async def test_a_result_whose_chunks_are_missing_is_a_gap(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        _, frame = await streaming(rig, worker)
        refused = await worker.say(result(frame, last_seq=2))
        assert [(entry.reason, entry.have_seq) for entry in refused] == [("gap", 0)]


async def test_a_late_watcher_sees_all_from_the_store(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        watcher, frame = await streaming(rig, worker)
        await worker.say(chunk(frame, 1), chunk(frame, 2), result(frame, last_seq=2))
        watcher.close()
        late = await rig.dispatch.feed.watch(TaskId(frame.task_id))
        news = late.take()
        assert payloads(news) == ["payload 1", "payload 2"]
        assert isinstance(news[-1], Ended)
        again = await rig.dispatch.feed.watch(TaskId(frame.task_id), Place(1, 1))
        assert payloads(again.take()) == ["payload 2"]


async def test_a_newer_attempt_resets_who_saw_a_part_of_the_older(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        first = await ScriptedWorker(rig, 1).join()
        watcher, frame = await streaming(rig, first)
        await first.say(chunk(frame, 1, "old"))
        assert payloads(watcher.take()) == ["old"]
        first.break_channel()
        await turn()
        await rig.dispatch.poll.tick()
        second = await ScriptedWorker(rig, 2).join_elsewhere()
        again = await second.infer()
        assert (again.task_id, again.attempt) == (frame.task_id, 2)
        await second.say(chunk(again, 1, "new"), result(again, last_seq=1))
        news = watcher.take()
        assert news[0] == Restarted(2)
        assert payloads(news) == ["new"]


async def test_an_unseen_attempt_is_replaced_in_silence(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        first = await ScriptedWorker(rig, 1).join()
        watcher, frame = await streaming(rig, first)
        await first.say(chunk(frame, 1, "old"))
        first.break_channel()
        await turn()
        await rig.dispatch.poll.tick()
        second = await ScriptedWorker(rig, 2).join_elsewhere()
        again = await second.infer()
        await second.say(chunk(again, 1, "new"), result(again, last_seq=1))
        assert [type(seen) for seen in watcher.take()] == [Chunks, Ended]


async def test_what_an_older_attempt_says_is_refused_as_stale(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        first = await ScriptedWorker(rig, 1).join()
        _, frame = await streaming(rig, first)
        first.break_channel()
        await turn()
        await rig.dispatch.poll.tick()
        second = await ScriptedWorker(rig, 2).join_elsewhere()
        again = await second.infer()
        await first.join_elsewhere("other@old")
        refused = await first.say(chunk(frame, 1), result(frame, last_seq=1))
        assert [entry.reason for entry in refused] == ["stale"]
        assert await second.say(chunk(again, 1), result(again, "the newer", last_seq=1)) == []
        stored = await rig.dispatch.reader.task(TaskId(frame.task_id))
        assert stored is not None
        assert stored.response == b"the newer"


async def test_a_watcher_that_waits_is_woken_by_a_chunk(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        watcher, frame = await streaming(rig, worker)
        watcher.take()
        assert not await watcher.wait(0)
        await worker.say(chunk(frame, 1))
        assert await watcher.wait()


async def test_a_client_that_leaves_cancels_its_task_and_stops_the_engine(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        watcher, frame = await streaming(rig, worker)
        watcher.close()
        assert (await worker.cancel()).task_id == frame.task_id
        row = await rig.dispatch.reader.row(TaskId(frame.task_id))
        assert row is not None
        assert row.status is Status.CANCELLED
        assert [entry.reason for entry in await worker.say(chunk(frame, 1))] == ["cancelled"]


async def test_what_the_server_itself_ends_cancels_nothing(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        watcher, frame = await streaming(rig, worker)
        watcher.close(by_server=True)
        assert await worker.say(chunk(frame, 1), result(frame, last_seq=1)) == []


async def test_a_persistent_call_outlives_its_client(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        ticket = await rig.dispatch.intake.submit(msgspec.structs.replace(call(), persist=True))
        assert ticket.watcher is not None
        ticket.watcher.close()
        assert await worker.say(result(await worker.infer())) == []


async def test_an_endless_answer_ends_in_an_error(tmp_path: Path) -> None:
    options = msgspec.structs.replace(OPTIONS, stream_bytes=10)
    async with opened_dispatch(tmp_path / "db", options) as rig:
        worker = await ScriptedWorker(rig).join()
        watcher, frame = await streaming(rig, worker)
        await worker.say(chunk(frame, 1, "more than ten bytes"))
        outcome = await watcher.end()
        assert outcome is not None
        assert outcome.fault is not None
        assert outcome.fault.code == "too_large"
        assert (await worker.cancel()).task_id == frame.task_id


async def test_nothing_new_is_claimed_while_streams_fill_the_memory(tmp_path: Path) -> None:
    options = msgspec.structs.replace(OPTIONS, feed_bytes=5)
    async with opened_dispatch(tmp_path / "db", options) as rig:
        worker = await ScriptedWorker(rig).join_with(2)
        _, frame = await streaming(rig, worker)
        await worker.say(chunk(frame, 1, "more than five"))
        ticket = await rig.dispatch.intake.submit(call("next"))
        assert ticket.status is Status.PENDING
        await turn()
        assert not worker.frames
        await worker.say(result(frame, last_seq=1))
        assert rig.dispatch.feed.size > 5  # its watcher has not read yet
        never = msgspec.structs.replace(call(), mode=QueueMode.WAIT)
        assert (await rig.dispatch.intake.submit(never)).status is Status.PENDING


async def test_a_closing_server_tells_its_watchers(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        watcher, _ = await streaming(rig, worker)
        await rig.dispatch.close()
        outcome = await watcher.end()
        assert outcome is not None
        assert outcome.fault is not None
        assert outcome.fault.code == "shutting_down"


async def test_a_watcher_that_names_an_attempt_of_the_future_starts_anew(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        _, frame = await streaming(rig, worker)
        await worker.say(chunk(frame, 1))
        liar = await rig.dispatch.feed.watch(TaskId(frame.task_id), Place(7, 3))
        assert liar.take() == [Restarted(1), Chunks(1, 1, ["payload 1"])]
