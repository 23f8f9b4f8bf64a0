"""Claims about calling as the spec says it (section 5), on every endpoint, streamed or not."""

import itertools
from pathlib import Path

import pytest

from inferpool.core.lifecycle import Status
from inferpool.dispatch.options import DispatchOptions
from inferpool.server.options import ServerOptions
from inferpool.wire.sessions import CancelRun, Infer
from tests.server.asking import ALL, ask
from tests.server.rig import HOST, PATIENCE_S, Rig, running
from tests.server.scripted_worker import ScriptedWorker, bound_worker, failure, result

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/inference-tasks"
REFUSALS = [(401, "engine_auth"), (403, "engine_auth"), (407, "engine_auth"), (302, "engine_redirect")]
EACH = pytest.mark.parametrize("endpoint", ALL)
BOTH = pytest.mark.parametrize("stream", [False, True])


async def reply(worker: ScriptedWorker, infer: Infer) -> None:
    """Answer as an engine would, with a stream where one was asked for."""
    if infer.streaming:
        await worker.begin(infer, '{"n":1}')
    await worker.answer(infer, 200, '{"n":1}', last_seq=int(infer.streaming))


async def task(rig: Rig, task_id: str) -> dict[str, object]:
    return (await rig.call("GET", f"{TASKS}/{task_id}?wait={PATIENCE_S:g}")).json


# ---- queue or fail ----------------------------------------------------------------------------------------------------


@EACH
async def test_a_call_that_would_not_queue_fails_at_once(rig: Rig, worker: ScriptedWorker, endpoint: str) -> None:
    assert (await rig.call("DELETE", worker.path, {**HOST, **worker.headers})).status == 204
    for stream in (False, True):
        for mode in ("live", "never"):
            answer = await ask(rig, endpoint, stream=stream, inferpool_queue=mode, idempotency_key="k").whole()
            assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "llm_unavailable", "1")
    assert await rig.rows() == 0


@EACH
@BOTH
async def test_a_busy_llm_is_live_but_has_no_slot(tmp_path: Path, endpoint: str, *, stream: bool) -> None:
    async with running(tmp_path) as rig:
        worker = await bound_worker(rig, slots=1)
        warm = ask(rig, endpoint)
        await reply(worker, await worker.infer())
        assert (await warm.whole()).status == 200
        first = ask(rig, endpoint, stream=stream, inferpool_queue="never")
        infer = await worker.infer()
        full = await ask(rig, endpoint, stream=stream, inferpool_queue="never").whole()
        assert (full.status, full.error["code"]) == (503, "llm_unavailable")
        second = ask(rig, endpoint, stream=stream, inferpool_queue="live")
        await reply(worker, infer)
        assert (await first.whole()).status == 200
        await reply(worker, await worker.infer())
        assert (await second.whole()).status == 200
        assert await rig.rows() == 3


@EACH
async def test_an_impatient_call_is_tried_once(rig: Rig, worker: ScriptedWorker, endpoint: str) -> None:
    for stream in (False, True):
        call = ask(rig, endpoint, stream=stream, inferpool_queue="live")
        await worker.answer(await worker.infer(), 429, '{"error":{"message":"busy"}}')
        answer = await call.whole()
        assert (answer.status, answer.body) == (429, b'{"error":{"message":"busy"}}')
        assert answer.headers["x-should-retry"] == "false"


@EACH
@BOTH
async def test_a_pin_binds_a_call_to_its_llm(rig: Rig, endpoint: str, *, stream: bool) -> None:
    other = await bound_worker(rig, "other", pool_name="p", slots=4)
    pinned = await bound_worker(rig, "m", pool_name="p", slots=1)
    calls = [ask(rig, endpoint, stream=stream, inferpool_pin="true") for _ in range(2)]
    for _ in calls:
        infer = await pinned.infer()
        assert infer.llm_name == "m"
        await reply(pinned, infer)
    assert [(await call.whole()).status for call in calls] == [200, 200]
    assert other._frames == []


# ---- disconnect -------------------------------------------------------------------------------------------------------


@EACH
async def test_a_caller_who_leaves_stops_the_engine(rig: Rig, worker: ScriptedWorker, endpoint: str) -> None:
    for stream in (False, True):
        call = ask(rig, endpoint, stream=stream)
        infer = await worker.infer()
        call.leave()
        frame = await worker.frame()
        assert isinstance(frame, CancelRun)
        assert frame.task_id == infer.task_id
        await call.over()
        assert (await task(rig, infer.task_id))["status"] == Status.CANCELLED


@EACH
async def test_a_caller_may_leave_its_task_behind(rig: Rig, worker: ScriptedWorker, endpoint: str) -> None:
    for stream in (False, True):
        call = ask(rig, endpoint, stream=stream, inferpool_on_disconnect="continue")
        infer = await worker.infer()
        call.leave()
        await call.over()
        await reply(worker, infer)
        assert (await task(rig, infer.task_id))["status"] == Status.COMPLETED


# ---- idempotency ------------------------------------------------------------------------------------------------------


@EACH
@BOTH
async def test_a_repeat_under_a_key_gets_the_same_answer_after_a_restart_too(
    tmp_path: Path, endpoint: str, *, stream: bool
) -> None:
    async with running(tmp_path) as rig:
        worker = await bound_worker(rig)
        call = ask(rig, endpoint, stream=stream, idempotency_key="k")
        infer = await worker.infer()
        attached = ask(rig, endpoint, stream=stream, idempotency_key="k")
        await reply(worker, infer)
        first = await call.whole()
        assert (await attached.whole()).body == first.body
    async with running(tmp_path) as rig:
        again = await ask(rig, endpoint, stream=stream, idempotency_key="k").whole()
        assert (again.status, again.body) == (200, first.body)
        assert again.headers["inferpool-task-id"] == infer.task_id
        other = await ask(rig, endpoint, stream=not stream, idempotency_key="k").whole()
        assert (other.status, other.error["code"], other.headers["x-should-retry"]) == (409, "conflict", "false")
        assert await rig.rows() == 1


@EACH
async def test_a_key_whose_task_failed_is_free_again(rig: Rig, worker: ScriptedWorker, endpoint: str) -> None:
    call = ask(rig, endpoint, idempotency_key="k")
    await worker.answer(await worker.infer(), 400, "{}")
    assert (await call.whole()).status == 400
    again = ask(rig, endpoint, idempotency_key="k")
    await reply(worker, await worker.infer())
    assert (await again.whole()).status == 200


# ---- waiting ----------------------------------------------------------------------------------------------------------


@EACH
async def test_a_wait_ends_before_the_client_gives_up_with_the_place_in_the_line(tmp_path: Path, endpoint: str) -> None:
    async with running(tmp_path) as rig:
        worker = await bound_worker(rig, slots=1)
        running_call = ask(rig, endpoint)
        infer = await worker.infer()
        answer = await ask(rig, endpoint, x_stainless_timeout="0.02").whole()
        assert (answer.status, answer.error["code"]) == (504, "wait_timeout")
        assert (answer.headers["x-should-retry"], answer.headers["inferpool-queue-position"]) == ("false", "1")
        await reply(worker, infer)
        assert (await running_call.whole()).status == 200
        late = await worker.infer()
        assert late.task_id == answer.headers["inferpool-task-id"]
        await reply(worker, late)
        assert (await task(rig, late.task_id))["status"] == Status.COMPLETED


@EACH
async def test_a_stream_whose_head_is_out_has_no_limit_but_tells_its_place(tmp_path: Path, endpoint: str) -> None:
    options = ServerOptions(headers_wait_s=0.01, comment_s=0.02)
    async with running(tmp_path, options, DispatchOptions(wait_limit_s=0.05)) as rig:
        worker = await bound_worker(rig, slots=1)
        first = ask(rig, endpoint, inferpool_on_disconnect="continue", x_stainless_timeout="30")
        infer = await worker.infer()
        stream = ask(rig, endpoint, stream=True)
        status, headers = await stream.head()
        assert (status, headers["inferpool-queue-position"]) == (200, "1")
        assert "inferpool-expected-wait" not in headers
        assert [await stream.part() for _ in range(3)] == [b": ping\n"] * 3
        assert (await first.whole()).status == 504
        await reply(worker, infer)
        begun = await worker.infer()
        waiting = ask(rig, endpoint, stream=True)
        _, told = await waiting.head()
        assert float(told["inferpool-expected-wait"]) > 0
        await reply(worker, begun)
        await reply(worker, await worker.infer())
        for call in (stream, waiting):
            assert b'{"n":1}' in await call.rest()


# ---- what the engine says ---------------------------------------------------------------------------------------------


@EACH
async def test_what_is_about_our_key_is_a_502_without_its_words(
    rig: Rig, worker: ScriptedWorker, endpoint: str
) -> None:
    for stream, (status, code) in itertools.product((False, True), REFUSALS):
        call = ask(rig, endpoint, stream=stream)
        infer = await worker.infer()
        await worker.answer(infer, status, "secret words")
        answer = await call.whole()
        assert (answer.status, answer.error["code"], answer.headers["x-should-retry"]) == (502, code, "false")
        shown = await rig.call("GET", f"{TASKS}/{infer.task_id}")
        assert b"secret words" not in answer.body + shown.body


@EACH
async def test_a_run_that_is_too_long_is_a_504(rig: Rig, worker: ScriptedWorker, endpoint: str) -> None:
    for stream in (False, True):
        call = ask(rig, endpoint, stream=stream)
        await worker.say(failure(await worker.infer(), "engine_timeout", "3600 s"))
        answer = await call.whole()
        assert (answer.status, answer.error["code"], answer.headers["x-should-retry"]) == (
            504,
            "engine_timeout",
            "false",
        )


@EACH
async def test_a_success_of_any_number_passes(rig: Rig, worker: ScriptedWorker, endpoint: str) -> None:
    for status in (200, 201, 299):
        call = ask(rig, endpoint)
        await worker.say(result(await worker.infer(), status))
        assert (await call.whole()).status == status
