"""Claims about the native stream of a task."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from inferpool.server.options import ServerOptions
from inferpool.wire.sessions import Infer
from tests.server.rig import HOST, Exchange, Rig, chat_body, running
from tests.server.scripted_worker import ScriptedWorker, bound_worker, chunks, result

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/inference-tasks"


async def queued(rig: Rig, worker: ScriptedWorker) -> Infer:
    answer = await rig.post(TASKS, {"request": chat_body(stream=True)})
    assert answer.status == 202
    return await worker.infer()


def watch(rig: Rig, task_id: str, last: str | None = None) -> Exchange:
    headers = HOST if last is None else {**HOST, "last-event-id": last}
    return rig.open("GET", f"{TASKS}/{task_id}/stream", headers)


def ids(body: bytes) -> list[str]:
    return [line.removeprefix("id: ") for line in body.decode().splitlines() if line.startswith("id: ")]


async def test_a_watcher_sees_chunks_by_number_then_the_row(rig: Rig, worker: ScriptedWorker) -> None:
    infer = await queued(rig, worker)
    stream = watch(rig, infer.task_id)
    status, headers = await stream.head()
    assert (status, headers["content-type"], headers["x-accel-buffering"]) == (
        200,
        "text/event-stream; charset=utf-8",
        "no",
    )
    await worker.begin(infer, "a", "b")
    assert await stream.part() == b"id: 1-1\ndata: a\n\nid: 1-2\ndata: b\n\n"
    await worker.answer(infer, last_seq=2)
    last = await stream.rest()
    assert last.startswith(b"event: completed\nid: 1-end\ndata: {")
    row = msgspec.json.decode(last.split(b"data: ")[1])
    assert (row["id"], row["status"], row["response"]["body"]) == (infer.task_id, "completed", {"choices": []})


async def test_any_number_of_watchers_come_before_during_after_the_run(rig: Rig, worker: ScriptedWorker) -> None:
    infer = await queued(rig, worker)
    watchers = [watch(rig, infer.task_id)]
    await worker.begin(infer, "a")
    watchers.append(watch(rig, infer.task_id))
    await worker.say(*chunks(infer, "b", first=2), result(infer, last_seq=2))
    watchers.append(watch(rig, infer.task_id))
    bodies = [(await watcher.whole()).body for watcher in watchers]
    assert [ids(body) for body in bodies] == [["1-1", "1-2", "1-end"]] * 3


@pytest.mark.parametrize(
    ("last", "seen"),
    [("1-0", ["1-1", "1-2", "1-3", "1-end"]), ("1-2", ["1-3", "1-end"]), ("1-3", ["1-end"]), ("1-9", ["1-end"])],
)
async def test_a_watcher_goes_on_where_it_stopped(rig: Rig, worker: ScriptedWorker, last: str, seen: list[str]) -> None:
    infer = await queued(rig, worker)
    await worker.begin(infer, "a", "b", "c")
    await worker.answer(infer, last_seq=3)
    assert ids((await watch(rig, infer.task_id, last).whole()).body) == seen


async def test_a_watcher_that_saw_the_end_is_told_to_stop(rig: Rig, worker: ScriptedWorker) -> None:
    infer = await queued(rig, worker)
    await worker.answer(infer)
    answer = await watch(rig, infer.task_id, "1-end").whole()
    assert (answer.status, answer.body) == (204, b"")


async def test_an_end_that_no_longer_stands_is_followed_by_the_newer_attempt(rig: Rig, worker: ScriptedWorker) -> None:
    infer = await queued(rig, worker)
    await worker.begin(infer, "a")
    await rig.call("DELETE", f"{TASKS}/{infer.task_id}")
    await worker.frame()
    await worker.say({"type": "stopped", "task_id": infer.task_id, "attempt": 1})
    await rig.call("POST", f"{TASKS}/{infer.task_id}/replay")
    second = await worker.infer()
    stream = watch(rig, infer.task_id, "1-end")
    await worker.begin(second, "b")
    await worker.answer(second, last_seq=1)
    assert ids((await stream.whole()).body) == ["2-0", "2-1", "2-end"]


async def test_what_was_seen_of_an_older_attempt_is_reset(rig: Rig, worker: ScriptedWorker) -> None:
    infer = await queued(rig, worker)
    stream = watch(rig, infer.task_id)
    await stream.head()
    await worker.begin(infer, "a")
    assert ids(await stream.part()) == ["1-1"]
    await worker.say({"type": "returned", "task_id": infer.task_id, "attempt": 1})
    second = await worker.infer()
    await worker.begin(second, "b")
    await worker.answer(second, last_seq=1)
    rest = await stream.rest()
    assert rest.startswith(b'event: reset\nid: 2-0\ndata: {"attempt":2}\n\n')
    assert ids(rest) == ["2-0", "2-1", "2-end"]


async def test_a_cancelled_task_ends_under_that_name(rig: Rig, worker: ScriptedWorker) -> None:
    infer = await queued(rig, worker)
    stream = watch(rig, infer.task_id)
    await stream.head()
    await rig.call("DELETE", f"{TASKS}/{infer.task_id}")
    assert (await stream.rest()).startswith(b"event: cancelled\nid: 1-end\n")


async def test_a_task_in_error_ends_under_that_name(rig: Rig, worker: ScriptedWorker) -> None:
    infer = await queued(rig, worker)
    await worker.answer(infer, 400, "no")
    body = (await watch(rig, infer.task_id).whole()).body
    assert body.startswith(b"event: error\nid: 1-end\n")
    assert msgspec.json.decode(body.split(b"data: ")[1])["error"]["code"] == "engine_error"


async def test_a_task_that_is_purged_before_its_end_was_told_still_ends(rig: Rig, worker: ScriptedWorker) -> None:
    infer = await queued(rig, worker)
    stream = watch(rig, infer.task_id)
    stream.slow = asyncio.Event()
    await worker.begin(infer, "a")
    await rig.call("DELETE", f"{TASKS}/{infer.task_id}")
    await rig.call("DELETE", f"{TASKS}/{infer.task_id}?purge=true")
    stream.slow.set()
    body = (await stream.whole()).body
    last = body[body.index(b"event: cancelled\nid: 1-end\n") :]
    row = msgspec.json.decode(last.split(b"data: ")[1])
    assert (row["id"], row["status"], row["error"]["code"]) == (infer.task_id, "cancelled", "cancelled")


@pytest.mark.parametrize("last", ["x", "1", "1-x", "-", "1-1-1"])
async def test_an_id_that_no_stream_has_is_refused(rig: Rig, worker: ScriptedWorker, last: str) -> None:
    infer = await queued(rig, worker)
    answer = await watch(rig, infer.task_id, last).whole()
    assert (answer.status, answer.error["param"]) == (400, "Last-Event-ID")


async def test_an_empty_id_means_from_the_beginning(rig: Rig, worker: ScriptedWorker) -> None:
    infer = await queued(rig, worker)
    await worker.begin(infer, "a")
    await worker.answer(infer, last_seq=1)
    assert ids((await watch(rig, infer.task_id, "").whole()).body) == ["1-1", "1-end"]


async def test_a_waiting_task_tells_where_it_stands(tmp_path: Path) -> None:
    async with running(tmp_path, ServerOptions(comment_s=0.02)) as rig:
        worker = await bound_worker(rig, slots=1)
        infer = await queued(rig, worker)
        answer = await rig.post(TASKS, {"request": chat_body(stream=True)})
        assert answer.headers["inferpool-queue-position"] == "1"
        stream = watch(rig, str(answer.json["id"]))
        assert (await stream.head())[0] == 200
        line = b'event: position\ndata: {"queue_position":1,"expected_wait_s":null}\n\n'
        assert [await stream.part(), await stream.part()] == [line, line]
        await worker.answer(infer)
        last = await worker.infer()
        await worker.begin(last, "a")
        await worker.answer(last, last_seq=1)
        rest = await stream.rest()
        assert ids(rest) == ["1-1", "1-end"]


async def test_an_idle_stream_carries_comments(tmp_path: Path) -> None:
    async with running(tmp_path, ServerOptions(comment_s=0.02)) as rig:
        infer = await queued(rig, await bound_worker(rig))
        stream = watch(rig, infer.task_id)
        await stream.head()
        assert await stream.part() == b": ping\n"
        stream.leave()
        await stream.over()


async def test_a_watcher_that_leaves_cancels_nothing(rig: Rig, worker: ScriptedWorker) -> None:
    infer = await queued(rig, worker)
    stream = watch(rig, infer.task_id)
    await stream.head()
    stream.leave()
    await stream.over()
    assert (await worker.answer(infer)).json == {"refused": []}


async def test_a_closing_server_ends_the_stream_without_an_end_of_the_task(rig: Rig, worker: ScriptedWorker) -> None:
    infer = await queued(rig, worker)
    await worker.begin(infer, "a")
    stream = watch(rig, infer.task_id)
    await stream.head()
    assert ids(await stream.part()) == ["1-1"]
    await rig.dispatch.close()
    assert await stream.rest() == b""
    await stream.over()
