"""Claims about what each transition writes into a row beside its standing."""

import pytest

from inferpool.core.clock import HOUR, MINUTE, SECOND
from inferpool.core.errors import Code
from inferpool.core.lifecycle import Status
from inferpool.core.task import Answer, Fault
from inferpool.store.protocol import Retry
from tests.store.builders import (
    ANSWER,
    LANE,
    REFUSAL,
    Rig,
    claimed,
    complete,
    ended,
    enqueue,
    fail,
    new_task,
    registered,
    retry,
    row_of,
    running,
)

pytestmark = pytest.mark.anyio


async def test_a_new_row_says_what_its_caller_asked_for(rig: Rig) -> None:
    task = new_task(
        headers={"anthropic-version": "2023-06-01"},
        request=b'{"a": "\xff\x00"}',
        streaming=True,
        agent="clerk",
        priority="flex",
        content_type="application/octet-stream",
        rank=2.5,
        expires_in=MINUTE,
    )
    await rig.store.enqueue(task, None)
    stored = await rig.reader.task(task.id)
    assert stored is not None
    row = stored.row
    assert (stored.request, stored.content_type, stored.headers, stored.response) == (
        task.request,
        task.content_type,
        task.headers,
        None,
    )
    assert (row.lane, row.pool_name, row.llm_name, row.model, row.tier) == (LANE, "qwen", None, "qwen", None)
    assert (row.endpoint, row.streaming, row.priority, row.rank) == ("chat/completions", True, "flex", 2.5)
    assert (row.owner, row.agent, row.mode, row.metadata) == ("local", "clerk", task.mode, {"batch": "7"})
    assert (row.status, row.ready, row.attempt, row.tries, row.max_tries) == (Status.PENDING, True, 0, 0, 3)
    assert row.expires_at == row.created_at + MINUTE
    assert row.available_at == row.created_at
    assert (row.claimed_at, row.deadline, row.stream_started_at, row.completed_at) == (None, None, None, None)


@pytest.mark.parametrize("lane", ["llm:qwen@box:8b", "tier:large"])
async def test_a_row_keeps_its_routing_whatever_the_lane(rig: Rig, lane: str) -> None:
    task = new_task(lane)
    await rig.store.enqueue(task, None)
    row = await row_of(rig, task.id)
    routing = task.routing
    assert (row.lane, row.pool_name, row.llm_name, row.tier) == (lane, None, routing.llm_name, routing.tier)


async def test_a_claim_sets_its_time_with_the_deadline(rig: Rig) -> None:
    worker = await registered(rig)
    [task_id] = await enqueue(rig)
    rig.later(SECOND)
    claim = worker.claim_of(run_limit=5 * MINUTE)
    [taken] = await rig.store.claim(claim)
    row = await row_of(rig, task_id)
    assert (row.claimed_by, row.claimed_llm, row.claim_batch) == (worker.id, worker.llm, claim.batch)
    assert row.claimed_at is not None
    assert row.claimed_at >= row.created_at + SECOND
    assert row.deadline == row.claimed_at + 5 * MINUTE
    assert (taken.task_id, taken.attempt, taken.llm_name, taken.lane) == (task_id, 1, worker.llm, LANE)


async def test_a_claim_brings_all_that_the_infer_frame_says(rig: Rig) -> None:
    worker = await registered(rig)
    task = new_task(headers={"x": "y"}, streaming=True, content_type="text/plain", owner="ann", rank=4.0)
    await rig.store.enqueue(task, None)
    [taken] = await worker.claim()
    assert (taken.request, taken.content_type, taken.headers) == (task.request, "text/plain", {"x": "y"})
    assert (taken.endpoint, taken.streaming, taken.priority) == ("chat/completions", True, "default")
    assert (taken.rank, taken.owner) == (4.0, "ann")


async def test_a_start_sets_when_the_answer_began(rig: Rig) -> None:
    worker = await registered(rig)
    row = await row_of(rig, await running(rig, worker))
    assert row.status is Status.RUNNING
    assert row.stream_started_at is not None
    assert row.claimed_at is not None
    assert row.stream_started_at >= row.claimed_at


@pytest.mark.parametrize("started", [True, False])
async def test_a_complete_keeps_the_engines_answer_byte_for_byte(rig: Rig, started: bool) -> None:
    worker = await registered(rig)
    task_id = await (running if started else claimed)(rig, worker)
    answer = Answer(202, "application/x-odd; charset=latin-1", b"\x00\xff{")
    await rig.store.complete(complete(worker.says(task_id), answer=answer))
    stored = await rig.reader.task(task_id)
    assert stored is not None
    row = stored.row
    assert (row.response_status, row.response_content_type, stored.response) == (202, answer.content_type, answer.body)
    assert (row.prompt_tokens, row.completion_tokens) == (7, 5)
    assert (row.error_code, row.error_message) == (None, None)
    assert row.completed_at is not None
    assert row.completed_at >= row.created_at


async def test_a_completion_without_usage_leaves_it_open(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await claimed(rig, worker)
    end = complete(worker.says(task_id))
    await rig.store.complete(type(end)(spoken=end.spoken, answer=end.answer))
    row = await row_of(rig, task_id)
    assert (row.prompt_tokens, row.completion_tokens) == (None, None)
    assert await rig.reader.chunks(task_id) is None


async def test_a_second_complete_leaves_the_first_body(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.complete(complete(worker.says(task_id)))
    before = await rig.reader.task(task_id)
    await rig.store.complete(complete(worker.says(task_id), answer=Answer(200, "text/plain", b"another")))
    assert await rig.reader.task(task_id) == before
    assert before is not None
    assert before.response == ANSWER.body


async def test_a_failure_keeps_the_engines_refusal_with_its_reason(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.fail(fail(worker.says(task_id)))
    stored = await rig.reader.task(task_id)
    assert stored is not None
    row = stored.row
    assert (row.response_status, row.response_content_type, stored.response) == (503, "text/plain", REFUSAL.body)
    assert (row.error_code, row.error_message) == ("engine_error", "the engine answered 503")
    assert (row.prompt_tokens, row.completion_tokens) == (7, 5)
    assert row.completed_at is not None
    assert "****" not in repr(stored)


async def test_a_retry_is_not_ready_until_its_back_off_is_over(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    before = await row_of(rig, task_id)
    await rig.store.retry(retry(worker.says(task_id), delay=20 * SECOND))
    row = await row_of(rig, task_id)
    [attempt] = await rig.reader.attempts(task_id)
    assert (row.status, row.ready, row.available_at) == (Status.PENDING, False, attempt.ended_at + 20 * SECOND)
    assert (row.claimed_at, row.stream_started_at, row.deadline, row.completed_at) == (None, None, None, None)
    assert (row.rank, row.expires_at) == (before.rank, before.expires_at)


async def test_the_last_try_keeps_its_status_with_its_body(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker, max_tries=1)
    await rig.store.retry(retry(worker.says(task_id)))
    stored = await rig.reader.task(task_id)
    assert stored is not None
    row = stored.row
    assert (row.status, row.tries, row.ready) == (Status.ERROR, 1, True)
    assert (row.response_status, stored.response, row.error_code) == (503, REFUSAL.body, "engine_error")
    assert row.completed_at is not None


async def test_a_task_that_expires_after_a_retry_keeps_the_last_answer(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.retry(retry(worker.says(task_id)))
    rig.later(2 * HOUR)
    await rig.store.expire(10)
    stored = await rig.reader.task(task_id)
    assert stored is not None
    assert (stored.row.error_code, stored.row.response_status) == (Code.EXPIRED, 503)
    assert stored.response == REFUSAL.body


async def test_an_answer_replaces_what_an_earlier_attempt_left(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.retry(retry(worker.says(task_id)))
    await rig.store.make_ready(10)
    await worker.claim()
    await rig.store.complete(complete(worker.says(task_id, 2)))
    stored = await rig.reader.task(task_id)
    assert stored is not None
    row = stored.row
    assert (row.response_status, stored.response) == (200, ANSWER.body)
    assert (row.error_code, row.error_message) == (None, None)


async def test_a_last_try_without_an_answer_keeps_nothing_of_an_older_one(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker, max_tries=2)
    await rig.store.retry(retry(worker.says(task_id)))
    await rig.store.make_ready(10)
    await worker.claim()
    broken = Fault(Code.ENGINE_ERROR, "no answer came")
    await rig.store.retry(Retry(spoken=worker.says(task_id, 2), fault=broken, delay=0))
    row = await row_of(rig, task_id)
    assert (row.status, row.error_message) == (Status.ERROR, "no answer came")


@pytest.mark.parametrize("held", [True, False])
async def test_a_cancel_ends_the_task_at_once(rig: Rig, held: bool) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker) if held else (await enqueue(rig))[0]
    cancelled = await rig.store.cancel(task_id)
    row = await row_of(rig, task_id)
    assert row.status is Status.CANCELLED
    assert row.completed_at is not None
    assert cancelled.moved is not None
    assert cancelled.status is cancelled.moved.status is Status.CANCELLED
    assert cancelled.moved.session_id == (worker.id if held else None)


async def test_a_cancel_of_an_ended_task_changes_nothing(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await ended(rig, worker, Status.COMPLETED)
    before = await rig.reader.task(task_id)
    cancelled = await rig.store.cancel(task_id)
    assert (cancelled.status, cancelled.moved) == (Status.COMPLETED, None)
    assert await rig.reader.task(task_id) == before


async def test_a_cancel_of_no_task_says_so(rig: Rig) -> None:
    cancelled = await rig.store.cancel(new_task().id)
    assert (cancelled.status, cancelled.moved) == (None, None)
