"""The task as the native API shows it: its JSON, the request that makes one, the events of its stream.

Spec section 5, "Async API". Times are RFC 3339 UTC with milliseconds. A body is JSON where it is JSON, else base64 under a name
that ends in `_base64`, so that no byte of it is changed on the way.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from inferpool.core.clock import DAY, SECOND, Micros
from inferpool.core.errors import Code, InvalidRequest
from inferpool.core.lanes import PriorityClass
from inferpool.core.lifecycle import Status
from inferpool.core.stream import END_SEQ, Place
from inferpool.core.task import EXPIRES_IN, MAX_TRIES, MAX_TRIES_LIMIT, Attempt, Fault, StoredTask, TaskRow, Usage
from inferpool.wire.openai import FORM_ENDPOINTS
from inferpool.wire.problems import malformed
from inferpool.wire.sse import data_frame

DEFAULT_ENDPOINT: Final = "chat/completions"
EXPIRY_LIMIT: Final[Micros] = 30 * DAY
"""How long a task may wait at the most."""

# ---- times ------------------------------------------------------------------------------------------------------------

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_rfc3339(time: Micros) -> str:
    """A stored time as `2026-08-01T12:34:56.789Z`."""
    return (_EPOCH + timedelta(microseconds=time)).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def from_rfc3339(text: str) -> Micros:
    """The stored time of an RFC 3339 text. Raises `ValueError` for anything else, a time without a zone too."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return (time - _EPOCH) // timedelta(microseconds=1)


def _optional(time: Micros | None) -> str | None:
    return None if time is None else to_rfc3339(time)


# ---- the task's JSON --------------------------------------------------------------------------------------------------


class TaskResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The engine's answer. Exactly one of `body`, `body_base64` is there."""

    status: int
    content_type: str
    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    body_base64: str | msgspec.UnsetType = msgspec.UNSET


class InferenceTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task. `request…` with `response` are left out of lists; the last two fields come with a pending one only."""

    id: str
    status: Status
    lane: str
    pool_name: str | None
    llm_name: str | None
    model: str
    tier: str | None
    endpoint: str
    request: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    request_base64: str | msgspec.UnsetType = msgspec.UNSET
    streaming: bool
    priority: str
    rank: float
    ready: bool
    owner: str
    agent: str | None
    attempt: int
    tries: int
    max_tries: int
    claimed_by: str | None
    claim_batch: str | None
    lost_by: str | None
    response: TaskResponse | msgspec.UnsetType | None = msgspec.UNSET
    error: Fault | None
    usage: Usage | None
    metadata: dict[str, str]
    created_at: str
    available_at: str
    claimed_at: str | None
    deadline: str | None
    stream_started_at: str | None
    completed_at: str | None
    expires_at: str
    queue_position: int | msgspec.UnsetType | None = msgspec.UNSET
    expected_wait_s: float | msgspec.UnsetType | None = msgspec.UNSET


class TaskList(msgspec.Struct, frozen=True):
    """`GET /api/v1/inference-tasks`, newest first."""

    data: list[InferenceTask]
    next_cursor: str | None


class AttemptJson(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a task's history. `counted`: it cost a try."""

    attempt: int
    session_id: str
    llm_name: str | None
    started_at: str
    ended_at: str
    ending: str
    counted: bool
    code: str | None
    message: str | None


class AttemptList(msgspec.Struct, frozen=True):
    """`GET /api/v1/inference-tasks/{id}/attempts`, oldest first."""

    data: list[AttemptJson]
    next_cursor: str | None = None


class Line(msgspec.Struct, frozen=True):
    """Where a pending task stands in its lane; None where nobody knows."""

    position: int | None = None
    wait_s: float | None = None


def show_row(row: TaskRow) -> InferenceTask:
    """A task without its bodies, as lists show it."""
    return InferenceTask(
        id=row.id,
        status=row.status,
        lane=row.lane,
        pool_name=row.pool_name,
        llm_name=row.llm_name,
        model=row.model,
        tier=row.tier,
        endpoint=row.endpoint,
        streaming=row.streaming,
        priority=row.priority,
        rank=row.rank,
        ready=row.ready,
        owner=row.owner,
        agent=row.agent,
        attempt=row.attempt,
        tries=row.tries,
        max_tries=row.max_tries,
        claimed_by=row.claimed_by,
        claim_batch=row.claim_batch,
        lost_by=row.lost_by,
        error=_fault(row),
        usage=_usage(row),
        metadata=row.metadata,
        created_at=to_rfc3339(row.created_at),
        available_at=to_rfc3339(row.available_at),
        claimed_at=_optional(row.claimed_at),
        deadline=_optional(row.deadline),
        stream_started_at=_optional(row.stream_started_at),
        completed_at=_optional(row.completed_at),
        expires_at=to_rfc3339(row.expires_at),
    )


def show_task(stored: StoredTask, line: Line | None = None) -> InferenceTask:
    """A task with its bodies; `line` for a pending one."""
    json, base64 = _body(stored.request)
    position: int | msgspec.UnsetType | None = msgspec.UNSET
    wait_s: float | msgspec.UnsetType | None = msgspec.UNSET
    if line is not None:
        position, wait_s = line.position, line.wait_s
    return msgspec.structs.replace(
        show_row(stored.row),
        request=json,
        request_base64=base64,
        response=_response(stored),
        queue_position=position,
        expected_wait_s=wait_s,
    )


def show_attempt(attempt: Attempt) -> AttemptJson:
    """One attempt of the history."""
    return AttemptJson(
        attempt=attempt.attempt,
        session_id=attempt.session_id,
        llm_name=attempt.llm_name,
        started_at=to_rfc3339(attempt.started_at),
        ended_at=to_rfc3339(attempt.ended_at),
        ending=attempt.ending.value,
        counted=attempt.counted,
        code=attempt.code,
        message=attempt.message,
    )


def _fault(row: TaskRow) -> Fault | None:
    return None if row.error_code is None else Fault(msgspec.convert(row.error_code, Code), row.error_message or "")


def _usage(row: TaskRow) -> Usage | None:
    if row.prompt_tokens is None and row.completion_tokens is None:
        return None
    return Usage(row.prompt_tokens or 0, row.completion_tokens or 0)


def _response(stored: StoredTask) -> TaskResponse | None:
    row = stored.row
    if stored.response is None or row.response_status is None:
        return None
    json, base64 = _body(stored.response)
    return TaskResponse(
        status=row.response_status, content_type=row.response_content_type or "", body=json, body_base64=base64
    )


def _body(body: bytes) -> tuple[msgspec.Raw | msgspec.UnsetType, str | msgspec.UnsetType]:
    """The body as JSON, or as base64: only bytes that were read through may stand inside our own JSON."""
    try:
        body.decode()
        msgspec.json.decode(body)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return msgspec.UNSET, b64encode(body).decode()
    return msgspec.Raw(body), msgspec.UNSET


# ---- the request that makes one ---------------------------------------------------------------------------------------


class NewTaskRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /api/v1/inference-tasks`. `request` is the engine's own body: its bytes go on as they came."""

    endpoint: str = DEFAULT_ENDPOINT
    request: msgspec.Raw
    pin: bool | None = None
    priority: PriorityClass | None = None
    metadata: dict[str, str] | None = None
    expires_in_s: float | None = None
    max_tries: int | None = None

    @property
    def expires_in(self) -> Micros:
        """How long the task may wait."""
        return EXPIRES_IN if self.expires_in_s is None else round(self.expires_in_s * SECOND)


def check_endpoint(endpoint: str) -> None:
    """Raise `InvalidRequest` for what cannot be a path of an engine."""
    if len(endpoint) > ENDPOINT_LIMIT or not _ENDPOINT.fullmatch(endpoint):
        raise InvalidRequest("`endpoint` is a path below /v1/, such as chat/completions", param="endpoint")


_decode_new: Final = msgspec.json.Decoder(NewTaskRequest).decode
ENDPOINT_PATTERN: Final = "[a-z0-9_-]+(/[a-z0-9_-]+)*"
_ENDPOINT: Final = re.compile(ENDPOINT_PATTERN)
ENDPOINT_LIMIT: Final = 100


def read_new_task(body: bytes) -> NewTaskRequest:
    """The request, its limits checked. Raises `InvalidRequest`, which names the field or the byte."""
    try:
        new = _decode_new(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error, body) from error
    check_endpoint(new.endpoint)
    if new.endpoint in FORM_ENDPOINTS:
        raise InvalidRequest(
            f"{new.endpoint} takes a form, no JSON: POST it to /v1/{new.endpoint} with `Inferpool-On-Disconnect: continue`",
            param="endpoint",
        )
    if new.expires_in_s is not None and not 0 < new.expires_in_s <= EXPIRY_LIMIT / SECOND:
        raise InvalidRequest(f"`expires_in_s` is above 0, at most {EXPIRY_LIMIT // SECOND}", param="expires_in_s")
    if new.max_tries is not None and not 1 <= new.max_tries <= MAX_TRIES_LIMIT:
        raise InvalidRequest(f"`max_tries` is from 1 to {MAX_TRIES_LIMIT}", param="max_tries")
    return new


def tries_of(new: NewTaskRequest) -> int:
    """How often the task may be tried."""
    return MAX_TRIES if new.max_tries is None else new.max_tries


# ---- the native stream ------------------------------------------------------------------------------------------------


def frame_numbered(attempt: int, first_seq: int, payloads: Sequence[str]) -> bytes:
    """Chunks as server-sent events without a name, their id `ATTEMPT-SEQ`."""
    frames = [data_frame(text, event_id=f"{attempt}-{first_seq + place}") for place, text in enumerate(payloads)]
    return b"".join(frames)


def frame_reset(attempt: int) -> bytes:
    """All that was seen is void: this attempt begins at 1."""
    return data_frame(f'{{"attempt":{attempt}}}', "reset", Place(attempt, 0).event_id())


class Waiting(msgspec.Struct, frozen=True):
    """The data of a `position` event, under the names that the task's own JSON has."""

    queue_position: int | None
    expected_wait_s: float | None


def frame_line(line: Line) -> bytes:
    """Where the task stands while it waits; without an id, because it is no place in the stream."""
    return data_frame(msgspec.json.encode(Waiting(line.position, line.wait_s)).decode(), "position")


def frame_end(status: Status, attempt: int, body: bytes) -> bytes:
    """The terminal event; `body` is the row as JSON."""
    return data_frame(body.decode(), status.value, Place(attempt, END_SEQ).event_id())
