"""Claims about streams on the OpenAI routes."""

import asyncio
from base64 import b64encode
from pathlib import Path

import msgspec
import pytest

from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.server.options import ServerOptions
from inferpool.wire.sessions import CancelRun
from tests.server.rig import Exchange, Rig, chat_body, running
from tests.server.scripted_worker import (
    ScriptedWorker,
    bound_worker,
    chunks,
    failure,
    result,
    started,
)

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"


async def begun(rig: Rig, worker: ScriptedWorker, *payloads: str) -> tuple[Exchange, str]:
    """A stream whose client has seen the payloads, with its task."""
    call = rig.chat(stream=True)
    infer = await worker.infer()
    await worker.begin(infer, *payloads)
    assert (await call.head())[0] == 200
    seen = b""
    while seen.count(b"data: ") < len(payloads):
        seen += await call.part()
    return call, infer.task_id


def error_in(part: bytes) -> dict[str, object]:
    """The error that the last frame of a stream carries."""
    frame = part.removesuffix(b"\n\n").split(b"\n\n")[-1]
    error: dict[str, object] = msgspec.json.decode(frame.removeprefix(b"data: "))["error"]
    return error


async def test_chunks_come_as_the_engine_wrote_them_then_the_end(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat(stream=True)
    infer = await worker.infer()
    assert infer.streaming
    await worker.begin(infer, '{"a": 1}', '{"b": 2}')
    status, headers = await call.head()
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")
    assert (headers["inferpool-task-id"], "inferpool-queue-position" in headers) == (infer.task_id, False)
    assert await call.part() == b'data: {"a": 1}\n\ndata: {"b": 2}\n\n'
    await worker.say(*chunks(infer, '{"c": 3}', first=3), result(infer, last_seq=3))
    assert await call.rest() == b'data: {"c": 3}\n\n' + DONE
    await call.over()


async def test_chunks_that_came_together_leave_in_one_write(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat(stream=True)
    infer = await worker.infer()
    await worker.begin(infer, *["x"] * 50)
    await call.head()
    assert (await call.part()).count(b"data: x\n\n") == 50
    await worker.answer(infer, last_seq=50)
    assert await call.rest() == DONE


async def test_the_engines_own_status_is_the_streams(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat(stream=True)
    infer = await worker.infer()
    await worker.say(started(infer, 201))
    assert (await call.head())[0] == 201
    await worker.answer(infer)
    assert await call.rest() == b'data: {"choices":[]}\n\n' + DONE


async def test_an_engines_400_stays_a_400(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat(stream=True)
    await worker.answer(await worker.infer(), 400, '{"error":{"message":"no"}}')
    answer = await call.whole()
    assert (answer.status, answer.body) == (400, b'{"error":{"message":"no"}}')
    assert (answer.headers["content-type"], answer.headers["x-should-retry"]) == ("application/json", "false")


async def test_a_fault_before_the_head_is_an_answer_of_its_own(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat(stream=True)
    await worker.say(failure(await worker.infer(), "engine_timeout", "3600 s"))
    assert (await call.whole()).status == 504


async def test_an_answer_that_the_engine_did_not_stream_is_one_chunk(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat(stream=True)
    await worker.answer(await worker.infer(), 200, '{"choices":\n[]}')
    assert (await call.whole()).body == b'data: {"choices":\ndata: []}\n\n' + DONE


async def test_a_fault_in_the_middle_is_an_error_frame(rig: Rig, worker: ScriptedWorker) -> None:
    call, task_id = await begun(rig, worker, "a")
    await worker.say({"type": "failure", "task_id": task_id, "attempt": 1, "code": "engine_timeout", "message": "slow"})
    error = error_in(await call.rest())
    assert (error["code"], error["message"], error["type"]) == ("engine_timeout", "slow", "server_error")


async def test_a_cancel_in_the_middle_is_an_error_frame(rig: Rig, worker: ScriptedWorker) -> None:
    call, task_id = await begun(rig, worker, "a")
    await rig.call("DELETE", f"/api/v1/inference-tasks/{task_id}")
    assert error_in(await call.rest())["code"] == "cancelled"


async def test_a_partly_seen_answer_that_begins_anew_ends_in_worker_lost(rig: Rig) -> None:
    worker = await bound_worker(rig)
    call, task_id = await begun(rig, worker, "a")
    await worker.say({"type": "returned", "task_id": task_id, "attempt": 1})
    second = await worker.infer()
    assert (second.task_id, second.attempt) == (task_id, 2)
    await worker.begin(second, "b")
    last = await call.rest()
    assert (error_in(last)["code"], b"data: b" in last) == ("worker_lost", False)
    await call.over()
    assert (await worker.answer(second, last_seq=1)).json == {"refused": []}
    row = await rig.dispatch.reader.row(TaskId(second.task_id))
    assert row is not None
    assert row.status is Status.COMPLETED


async def test_an_answer_of_which_nothing_was_seen_begins_anew_in_silence(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat(stream=True)
    first = await worker.infer()
    await worker.begin(first)
    assert (await call.head())[0] == 200
    await worker.say({"type": "returned", "task_id": first.task_id, "attempt": 1})
    second = await worker.infer()
    await worker.begin(second, "b")
    await worker.answer(second, last_seq=1)
    assert await call.rest() == b"data: b\n\n" + DONE


async def test_a_client_that_closes_stops_the_gpu(rig: Rig, worker: ScriptedWorker) -> None:
    call, task_id = await begun(rig, worker, "a")
    call.leave()
    frame = await worker.frame()
    assert isinstance(frame, CancelRun)
    assert frame.task_id == task_id
    await call.over()


async def test_a_client_that_closes_before_the_head_stops_it_too(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat(stream=True)
    await worker.infer()
    call.leave()
    assert isinstance(await worker.frame(), CancelRun)
    await call.over()


async def test_a_stream_that_is_to_go_on_outlives_its_client(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.start(CHAT, chat_body(stream=True), inferpool_on_disconnect="continue")
    infer = await worker.infer()
    await worker.begin(infer, "a")
    await call.head()
    call.leave()
    await call.over()
    assert (await worker.say(*chunks(infer, "b", first=2), result(infer, last_seq=2))).json == {"refused": []}


async def test_an_idle_stream_carries_comments_without_a_blank_line(tmp_path: Path) -> None:
    async with running(tmp_path, ServerOptions(comment_s=0.02)) as rig:
        worker = await bound_worker(rig)
        call, task_id = await begun(rig, worker, "a")
        assert await call.part() == b": ping\n"
        assert await call.part() == b": ping\n"
        await rig.call("DELETE", f"/api/v1/inference-tasks/{task_id}")
        assert error_in((await call.rest()).rsplit(b": ping\n")[-1])["code"] == "cancelled"


async def test_the_head_is_withheld_only_so_long_then_tells_the_place_in_the_line(tmp_path: Path) -> None:
    async with running(tmp_path, ServerOptions(headers_wait_s=0.05)) as rig:
        worker = await bound_worker(rig, slots=1)
        first, second = rig.chat(stream=True), rig.chat(stream=True)
        infer = await worker.infer()
        heads = [await first.head(), await second.head()]
        assert [status for status, _ in heads] == [200, 200]
        waiting = [headers for _, headers in heads if headers["inferpool-task-id"] != infer.task_id]
        assert [headers["inferpool-queue-position"] for headers in waiting] == ["1"]
        await worker.answer(infer, 400, '{"error":{"message":"no","type":"x"}}')
        held = first if heads[0][1]["inferpool-task-id"] == infer.task_id else second
        assert await held.rest() == b'data: {"error":{"message":"no","type":"x"}}\n\n'
        last = await worker.infer()
        await worker.answer(last, 500, "<html>")
        await worker.say({"type": "llm_status", "llm_name": "m", "status": "inactive", "slots": 0})


@pytest.mark.parametrize("body", [b"<html>", b'{"error":"text"}', b'{"detail":1}', b'{"error":{"message":"\xff"}}'])
async def test_an_engines_error_in_foreign_words_is_told_in_ours(tmp_path: Path, body: bytes) -> None:
    async with running(tmp_path, ServerOptions(headers_wait_s=0.01)) as rig:
        worker = await bound_worker(rig)
        call = rig.chat(stream=True)
        infer = await worker.infer()
        assert (await call.head())[0] == 200
        await worker.say({**result(infer, 400), "body_base64": b64encode(body).decode()})
        error = error_in(await call.rest())
        assert (error["code"], error["message"]) == ("engine_error", "the engine answered with HTTP 400")


async def test_a_slow_client_holds_up_nobody_but_itself(rig: Rig, worker: ScriptedWorker) -> None:
    slow, quick = rig.chat(stream=True), rig.chat(stream=True)
    slow.slow = asyncio.Event()
    tasks = [await worker.infer(), await worker.infer()]
    for number in range(20):
        for infer in tasks:
            await worker.say(*([] if number else [started(infer)]), *chunks(infer, f"c{number}", first=number + 1))
    for infer in tasks:
        await worker.answer(infer, last_seq=20)
    assert (await quick.whole()).body.count(b"data: ") == 21
    assert slow.writes == 1
    slow.slow.set()
    assert (await slow.whole()).body.count(b"data: ") == 21


async def test_a_closing_server_ends_a_stream_with_an_error_but_not_its_task(rig: Rig, worker: ScriptedWorker) -> None:
    call, task_id = await begun(rig, worker, "a")
    await rig.dispatch.close()
    assert error_in(await call.rest())["code"] == "shutting_down"
    row = await rig.dispatch.reader.row(TaskId(task_id))
    assert row is not None
    assert row.status is not Status.CANCELLED


async def test_a_repeat_of_a_finished_stream_sees_all_of_it(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.start(CHAT, chat_body(stream=True), idempotency_key="k")
    infer = await worker.infer()
    await worker.begin(infer, "a", "b")
    await worker.answer(infer, last_seq=2)
    first = (await call.whole()).body
    again = rig.start(CHAT, chat_body(stream=True), idempotency_key="k")
    assert (await again.whole()).body == first == b"data: a\n\ndata: b\n\n" + DONE
