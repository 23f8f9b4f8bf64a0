"""Claims about blocked callers of the OpenAI routes."""

import asyncio
from pathlib import Path

import pytest

from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.dispatch.options import DispatchOptions
from inferpool.wire.sessions import CancelRun
from tests.server.rig import HOST, JSON, PATIENCE_S, Rig, chat_body, running
from tests.server.scripted_worker import ScriptedWorker, bound_worker, failure, result

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"


async def test_a_call_gets_the_engines_answer_byte_for_byte(rig: Rig, worker: ScriptedWorker) -> None:
    asked = b'{ "model":"m",  "messages":[], "n":1.0 }'
    call = rig.open("POST", CHAT, JSON, asked)
    infer = await worker.infer()
    assert (infer.request, infer.endpoint, infer.streaming) == (asked.decode(), "chat/completions", False)
    assert (await worker.answer(infer, 200, '{ "choices": [ ] }')).json == {"refused": []}
    answer = await call.whole()
    assert (answer.status, answer.body) == (200, b'{ "choices": [ ] }')
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["inferpool-task-id"] == infer.task_id
    assert answer.headers["content-length"] == "18"
    assert answer.headers["x-request-id"]


async def test_a_call_waits_for_a_worker_to_come(rig: Rig) -> None:
    early = await bound_worker(rig)
    assert (await rig.call("DELETE", early.path, {**HOST, **early.headers})).status == 204
    await early.lose_channel()
    call = rig.chat()
    late = await bound_worker(rig)
    await late.answer(await late.infer())
    assert (await call.whole()).status == 200


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_an_engines_refusal_stays_what_it_is_and_is_final(rig: Rig, worker: ScriptedWorker, status: int) -> None:
    call = rig.chat()
    await worker.answer(await worker.infer(), status, '{"error":{"message":"too long"}}')
    answer = await call.whole()
    assert (answer.status, answer.body) == (status, b'{"error":{"message":"too long"}}')
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(("status", "code"), [(401, "engine_auth"), (403, "engine_auth"), (302, "engine_redirect")])
async def test_what_is_about_our_own_key_is_not_shown_to_the_caller(
    rig: Rig, worker: ScriptedWorker, status: int, code: str
) -> None:
    call = rig.chat()
    await worker.answer(await worker.infer(), status, "secret words")
    answer = await call.whole()
    assert (answer.status, answer.error["code"]) == (502, code)
    assert b"secret words" not in answer.body
    assert (answer.headers["x-should-retry"], "inferpool-task-id" in answer.headers) == ("false", True)


async def test_a_run_that_is_too_long_is_a_504(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat()
    await worker.say(failure(await worker.infer(), "engine_timeout", "3600 s"))
    answer = await call.whole()
    assert (answer.status, answer.error["code"]) == (504, "engine_timeout")


async def test_a_caller_whose_patience_ends_learns_the_task_that_goes_on(rig: Rig, worker: ScriptedWorker) -> None:
    answer = await rig.post(CHAT, chat_body(), x_stainless_read_timeout="0.05")
    infer = await worker.infer()
    assert (answer.status, answer.error["code"]) == (504, "wait_timeout")
    assert (answer.headers["x-should-retry"], answer.headers["inferpool-task-id"]) == ("false", infer.task_id)
    await worker.answer(infer)
    task = await rig.call("GET", f"/api/v1/inference-tasks/{infer.task_id}")
    assert task.json["status"] == "completed"


async def test_the_servers_own_limit_ends_a_wait_too(tmp_path: Path) -> None:
    async with running(tmp_path, dispatch=DispatchOptions(wait_limit_s=0.4)) as rig:
        await bound_worker(rig)
        answer = await rig.post(CHAT, chat_body(), x_stainless_read_timeout="600")
        assert (answer.status, answer.error["code"]) == (504, "wait_timeout")


async def test_a_caller_who_leaves_cancels_the_task_and_stops_the_gpu(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat()
    infer = await worker.infer()
    call.leave()
    frame = await worker.frame()
    assert isinstance(frame, CancelRun)
    assert frame.task_id == infer.task_id
    await call.over()
    assert await ended(rig, infer.task_id) is Status.CANCELLED


async def test_a_caller_who_wants_it_to_go_on_may_leave(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.start(CHAT, chat_body(), inferpool_on_disconnect="continue")
    infer = await worker.infer()
    call.leave()
    await call.over()
    assert (await worker.answer(infer)).json == {"refused": []}
    assert await ended(rig, infer.task_id) is Status.COMPLETED


async def ended(rig: Rig, task_id: str) -> Status:
    """The status at the task's end."""
    task = await rig.call("GET", f"/api/v1/inference-tasks/{task_id}?wait={PATIENCE_S:g}")
    return Status(str(task.json["status"]))


async def test_a_repeat_under_the_same_key_gets_the_same_answer(rig: Rig, worker: ScriptedWorker) -> None:
    first = rig.start(CHAT, chat_body(), idempotency_key="k")
    infer = await worker.infer()
    await worker.answer(infer, 200, '{"n":1}')
    assert (await first.whole()).body == b'{"n":1}'
    again = await rig.post(CHAT, chat_body(), idempotency_key="k")
    assert (again.body, again.headers["inferpool-task-id"]) == (b'{"n":1}', infer.task_id)
    assert await rig.rows() == 1


async def test_a_key_with_another_body_is_a_conflict_that_is_not_retried(rig: Rig, worker: ScriptedWorker) -> None:
    first = rig.start(CHAT, chat_body(), idempotency_key="k")
    infer = await worker.infer()
    answer = await rig.post(CHAT, chat_body(temperature=1), idempotency_key="k")
    assert (answer.status, answer.error["code"], answer.headers["x-should-retry"]) == (409, "conflict", "false")
    await worker.answer(infer)
    assert (await first.whole()).status == 200


async def test_a_name_that_nobody_published_is_told_with_the_nearest(rig: Rig, worker: ScriptedWorker) -> None:
    answer = await rig.post(CHAT, chat_body("mm"))
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
    assert "'m'" in str(answer.error["message"])
    assert await rig.rows() == 0


@pytest.mark.parametrize("mode", ["live", "never"])
async def test_a_call_that_would_not_queue_fails_at_once_when_nobody_is_there(
    rig: Rig, worker: ScriptedWorker, mode: str
) -> None:
    left = await rig.call("DELETE", worker.path, {**HOST, **worker.headers})
    assert left.status == 204
    answer = await rig.post(CHAT, chat_body(), inferpool_queue=mode)
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "llm_unavailable", "1")
    assert await rig.rows() == 0


async def test_a_pin_on_no_llm_is_a_404(rig: Rig, worker: ScriptedWorker) -> None:
    answer = await rig.post(CHAT, chat_body("nobody"), inferpool_pin="true")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_the_service_tier_is_the_class_of_the_task(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat(service_tier="flex", metadata={"a": "b"})
    infer = await worker.infer()
    task = (await rig.call("GET", f"/api/v1/inference-tasks/{infer.task_id}")).json
    assert (task["priority"], task["metadata"], task["owner"]) == ("flex", {"a": "b"}, "local")
    await worker.say(result(infer))
    await call.whole()


async def test_a_body_without_a_json_answer_is_passed_on_as_it_is(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat()
    infer = await worker.infer()
    said = result(infer)
    del said["body"]
    said["body_base64"] = "/w=="
    said["content_type"] = "audio/x\r\nset-cookie: a"
    await worker.say(said)
    answer = await call.whole()
    assert (answer.body, answer.headers["content-type"]) == (b"\xff", "audio/x??set-cookie: a")


async def test_a_draining_server_takes_no_new_calls_but_ends_the_accepted_ones(
    rig: Rig, worker: ScriptedWorker
) -> None:
    call = rig.chat()
    infer = await worker.infer()
    draining = asyncio.create_task(rig.dispatch.drain(PATIENCE_S))
    while (await rig.call("GET", "/readyz")).status == 200:
        pass
    refused = await rig.post(CHAT, chat_body())
    assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (503, "shutting_down", "1")
    assert (await rig.call("GET", "/v1/models")).status == 200
    await worker.answer(infer)
    assert (await call.whole()).status == 200
    await draining


async def test_a_caller_that_a_closing_server_leaves_learns_its_task(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat()
    infer = await worker.infer()
    await rig.dispatch.close()
    answer = await call.whole()
    assert (answer.status, answer.error["code"]) == (503, "shutting_down")
    assert (answer.headers["inferpool-task-id"], answer.headers["x-should-retry"]) == (infer.task_id, "false")
    row = await rig.dispatch.reader.row(TaskId(infer.task_id))
    assert row is not None
    assert row.status is Status.CLAIMED
