"""Claims about the task's JSON, the request that makes one, the events of its stream."""

from base64 import b64decode

import msgspec
import pytest

from inferpool.core.clock import DAY, HOUR
from inferpool.core.errors import Code, InvalidRequest
from inferpool.core.ids import SessionId, TaskId
from inferpool.core.lanes import PriorityClass
from inferpool.core.lifecycle import Ending, Status
from inferpool.core.task import Attempt, Fault, QueueMode, StoredTask, TaskRow, Usage
from inferpool.wire.tasks import (
    InferenceTask,
    Line,
    frame_end,
    frame_numbered,
    frame_reset,
    from_rfc3339,
    read_new_task,
    show_attempt,
    show_row,
    show_task,
    to_rfc3339,
    tries_of,
)

NOON = 1_785_585_600_000_000
ID = TaskId("0198a0f0-0000-7000-8000-000000000001")
ROW = TaskRow(
    id=ID,
    status=Status.PENDING,
    lane="pool:m",
    pool_name="m",
    llm_name=None,
    model="m",
    tier=None,
    endpoint="chat/completions",
    streaming=False,
    priority="default",
    rank=1.5,
    ready=True,
    owner="local",
    agent=None,
    mode=QueueMode.WAIT,
    attempt=0,
    tries=0,
    max_tries=3,
    claimed_by=None,
    claimed_llm=None,
    claim_batch=None,
    lost_by=None,
    response_status=None,
    response_content_type=None,
    error_code=None,
    error_message=None,
    prompt_tokens=None,
    completion_tokens=None,
    metadata={},
    created_at=NOON,
    available_at=NOON,
    claimed_at=None,
    deadline=None,
    stream_started_at=None,
    completed_at=None,
    expires_at=NOON + HOUR,
)


def stored(request: bytes = b'{"model": "m"}', response: bytes | None = None, **changes: object) -> StoredTask:
    return StoredTask(msgspec.structs.replace(ROW, **changes), request, "application/json", {}, response)


def shown(task: InferenceTask) -> dict[str, object]:
    told: dict[str, object] = msgspec.json.decode(msgspec.json.encode(task))
    return told


# ---- times ------------------------------------------------------------------------------------------------------------


def test_times_are_rfc_3339_in_utc_with_milliseconds() -> None:
    assert to_rfc3339(NOON + 1_999) == "2026-08-01T12:00:00.001Z"


@pytest.mark.parametrize("text", ["2026-08-01T12:00:00Z", "2026-08-01T14:00:00.000+02:00"])
def test_a_time_is_read_in_its_own_zone(text: str) -> None:
    assert from_rfc3339(text) == NOON


@pytest.mark.parametrize("text", ["yesterday", "2026-08-01T12:00:00", "2026-08-01"])
def test_a_time_without_a_zone_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        from_rfc3339(text)


# ---- the task's JSON --------------------------------------------------------------------------------------------------


def test_a_list_shows_a_task_without_its_bodies() -> None:
    told = shown(show_row(ROW))
    assert not {"request", "request_base64", "response", "queue_position", "expected_wait_s"} & set(told)
    assert (told["status"], told["created_at"], told["claimed_at"]) == ("pending", "2026-08-01T12:00:00.000Z", None)


def test_a_pending_task_tells_its_place_in_the_line() -> None:
    told = shown(show_task(stored(), Line(position=4)))
    assert (told["queue_position"], told["expected_wait_s"], told["response"]) == (4, None, None)


def test_bodies_that_are_json_stand_in_the_json_byte_for_byte() -> None:
    encoded = msgspec.json.encode(show_task(stored(b'{ "model":"m", "n": 1.50 }')))
    assert b'"request":{ "model":"m", "n": 1.50 }' in encoded


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"a": "\xff"}', b"plain", b"", b"[" * 5000 + b"]" * 5000])
def test_bodies_that_are_no_json_come_as_base64(body: bytes) -> None:
    told = shown(show_task(stored(body)))
    assert "request" not in told
    assert b64decode(str(told["request_base64"])) == body


def test_the_answer_has_the_engines_own_status_with_its_type() -> None:
    task = stored(
        response=b'{"choices":[]}',
        status=Status.COMPLETED,
        response_status=201,
        response_content_type="application/json",
    )
    assert shown(show_task(task))["response"] == {
        "status": 201,
        "content_type": "application/json",
        "body": {"choices": []},
    }


def test_an_answer_that_is_no_json_comes_as_base64() -> None:
    task = stored(response=b"oops", status=Status.ERROR, response_status=500)
    assert shown(show_task(task))["response"] == {"status": 500, "content_type": "", "body_base64": "b29wcw=="}


def test_an_error_with_its_usage_is_told() -> None:
    row = msgspec.structs.replace(
        ROW, status=Status.ERROR, error_code="worker_lost", error_message="gone", prompt_tokens=3, completed_at=NOON
    )
    task = show_row(row)
    assert (task.error, task.usage) == (Fault(Code.WORKER_LOST, "gone"), Usage(3, 0))
    assert task.completed_at == "2026-08-01T12:00:00.000Z"
    assert show_row(msgspec.structs.replace(row, error_message=None, completion_tokens=2)).error == Fault(
        Code.WORKER_LOST, ""
    )


def test_a_client_reads_what_the_server_wrote() -> None:
    task = show_task(stored(), Line(1, 2.0))
    assert msgspec.json.encode(
        msgspec.json.decode(msgspec.json.encode(task), type=InferenceTask)
    ) == msgspec.json.encode(task)


def test_an_attempt_tells_who_tried_when_with_what_end() -> None:
    attempt = Attempt(
        task_id=ID,
        attempt=2,
        session_id=SessionId("s"),
        llm_name="m@box",
        started_at=NOON,
        ended_at=NOON + 1000,
        ending=Ending.REVERTED,
        counted=True,
        code=None,
        message=None,
    )
    told = show_attempt(attempt)
    assert (told.attempt, told.ending, told.counted, told.llm_name) == (2, "reverted", True, "m@box")
    assert (told.started_at, told.ended_at) == ("2026-08-01T12:00:00.000Z", "2026-08-01T12:00:00.001Z")


# ---- the request that makes one ---------------------------------------------------------------------------------------


def test_a_request_alone_is_a_chat_completion_for_an_hour_with_three_tries() -> None:
    new = read_new_task(b'{"request": {"model": "m"}}')
    assert (new.endpoint, bytes(new.request), new.expires_in, tries_of(new)) == (
        "chat/completions",
        b'{"model": "m"}',
        HOUR,
        3,
    )


def test_everything_can_be_said() -> None:
    new = read_new_task(
        b'{"endpoint":"rerank","request":{},"pin":true,"priority":"batch","metadata":{"a":"b"},"expires_in_s":0.5,'
        b'"max_tries":100,"later":"ignored"}'
    )
    assert (new.endpoint, new.pin, new.priority, new.metadata) == ("rerank", True, PriorityClass.BATCH, {"a": "b"})
    assert (new.expires_in, tries_of(new)) == (500_000, 100)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "request"),
        ({"request": {}, "endpoint": 1}, "endpoint"),
        ({"request": {}, "endpoint": ""}, "endpoint"),
        ({"request": {}, "endpoint": "../admin"}, "endpoint"),
        ({"request": {}, "endpoint": "/chat"}, "endpoint"),
        ({"request": {}, "endpoint": "Chat"}, "endpoint"),
        ({"request": {}, "endpoint": "a" * 101}, "endpoint"),
        ({"request": {}, "pin": "yes"}, "pin"),
        ({"request": {}, "priority": "urgent"}, "priority"),
        ({"request": {}, "metadata": {"a": None}}, "metadata[...]"),
        ({"request": {}, "expires_in_s": 0}, "expires_in_s"),
        ({"request": {}, "expires_in_s": -1}, "expires_in_s"),
        ({"request": {}, "expires_in_s": 30 * DAY / 1e6 + 1}, "expires_in_s"),
        ({"request": {}, "expires_in_s": "1"}, "expires_in_s"),
        ({"request": {}, "max_tries": 0}, "max_tries"),
        ({"request": {}, "max_tries": 101}, "max_tries"),
        ({"request": {}, "max_tries": 1.5}, "max_tries"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_new_task(msgspec.json.encode(fields))
    assert caught.value.param == param


def test_a_request_that_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        read_new_task(b"{")


# ---- the native stream ------------------------------------------------------------------------------------------------


def test_chunks_carry_attempt_with_number() -> None:
    assert frame_numbered(2, 7, ["a", "b"]) == b"id: 2-7\ndata: a\n\nid: 2-8\ndata: b\n\n"


def test_a_payload_of_several_lines_stays_one_event() -> None:
    assert frame_numbered(1, 1, ["a\r\nid: 9-9\n\nb"]) == b"id: 1-1\ndata: a\ndata: id: 9-9\ndata: \ndata: b\n\n"


def test_a_reset_names_the_attempt_that_begins() -> None:
    assert frame_reset(3) == b'event: reset\nid: 3-0\ndata: {"attempt":3}\n\n'


def test_the_end_has_its_status_for_a_name() -> None:
    assert frame_end(Status.COMPLETED, 1, b"{\n}") == b"event: completed\nid: 1-end\ndata: {\ndata: }\n\n"
