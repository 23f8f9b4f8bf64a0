"""The task: what a caller asks for, what the store keeps of it, how it ended.

Field by field the words of spec section 3. What is asked for (`NewTask`) is another type than what is stored
(`TaskRow`, `StoredTask`).
"""

from enum import StrEnum

import msgspec

from inferpool.core.clock import HOUR, Micros
from inferpool.core.errors import Code
from inferpool.core.ids import BatchId, ServerId, SessionId, TaskId
from inferpool.core.lifecycle import Ending, Status

MAX_TRIES = 3
MAX_TRIES_LIMIT = 100
EXPIRES_IN: Micros = HOUR
RUN_LIMIT: Micros = HOUR


class QueueMode(StrEnum):
    """The caller's word on waiting (`Inferpool-Queue`)."""

    WAIT = "wait"
    LIVE = "live"
    NEVER = "never"


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task queues: fixed when it is enqueued, so that renaming a pool later reroutes nothing."""

    lane: str
    pool_name: str | None = None
    llm_name: str | None = None
    """The llm as the caller named it; None when the call named a pool or a tier."""
    model: str
    """What the body's `model` said."""
    tier: str | None = None


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A caller's `Idempotency-Key` with the SHA-256 (hex) of the request that first came with it."""

    key: str
    body_hash: str


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it is asked for. `request` is the caller's body byte for byte."""

    id: TaskId
    routing: Routing
    endpoint: str
    request: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = {}
    """Headers that the API needs at the engine (`anthropic-*`); credentials never."""
    streaming: bool = False
    priority: str
    rank: float
    owner: str
    agent: str | None = None
    mode: QueueMode = QueueMode.WAIT
    max_tries: int = MAX_TRIES
    metadata: dict[str, str] = {}
    expires_in: Micros = EXPIRES_IN
    idempotency: IdempotencyKey | None = None


class Answer(msgspec.Struct, frozen=True):
    """What the engine answered: its own status, its body byte for byte (for a stream the assembled one)."""

    status: int
    content_type: str
    body: bytes


class Usage(msgspec.Struct, frozen=True):
    """Tokens that a task cost, as the engine counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Fault(msgspec.Struct, frozen=True):
    """Why a task, or one attempt of it, has no answer."""

    code: Code
    message: str


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stored task without its bodies: what lists show, what decisions need. Times in microseconds UTC."""

    id: TaskId
    status: Status
    lane: str
    pool_name: str | None
    llm_name: str | None
    model: str
    tier: str | None
    endpoint: str
    streaming: bool
    priority: str
    rank: float
    ready: bool
    owner: str
    agent: str | None
    mode: QueueMode
    attempt: int
    tries: int
    max_tries: int
    claimed_by: SessionId | None
    claimed_llm: str | None
    """The llm of that session that the attempt was claimed for: it owns the slot."""
    claim_batch: BatchId | None
    lost_by: SessionId | None
    response_status: int | None
    response_content_type: str | None
    error_code: str | None
    error_message: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    metadata: dict[str, str]
    created_at: Micros
    available_at: Micros
    claimed_at: Micros | None
    deadline: Micros | None
    stream_started_at: Micros | None
    completed_at: Micros | None
    expires_at: Micros


class StoredTask(msgspec.Struct, frozen=True):
    """A stored task with its bodies. `response` is None until an engine answered something that the row keeps."""

    row: TaskRow
    request: bytes
    content_type: str
    headers: dict[str, str]
    response: bytes | None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a task's history, written by the transition that ended the attempt."""

    task_id: TaskId
    attempt: int
    session_id: SessionId
    llm_name: str | None
    started_at: Micros
    ended_at: Micros
    ending: Ending
    counted: bool
    """Whether it cost a try."""
    code: str | None
    message: str | None


class HeldTask(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that a session holds: a used slot of the llm's engine."""

    task_id: TaskId
    attempt: int
    llm_name: str
    streaming: bool
    endpoint: str


class ClaimedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task just claimed, with all that its `infer` frame says."""

    task_id: TaskId
    attempt: int
    llm_name: str
    lane: str
    endpoint: str
    request: bytes
    content_type: str
    headers: dict[str, str]
    streaming: bool
    priority: str
    rank: float
    owner: str


class PendingTask(msgspec.Struct, frozen=True, kw_only=True):
    """What order and bounds need to know of a waiting task; read back when a server starts."""

    task_id: TaskId
    lane: str
    owner: str
    priority: str
    rank: float
    size: int
    """Bytes of its request."""
    ready: bool


class ClaimFor(msgspec.Struct, frozen=True, kw_only=True):
    """The free slot for which an enqueue may insert its row already claimed."""

    session_id: SessionId
    epoch: int
    server_id: ServerId
    llm_name: str
    batch: BatchId
    run_limit: Micros = RUN_LIMIT


class TaskFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of a list of tasks, joined by AND. Times bound `created_at` (from inclusive, to exclusive)."""

    owner: str | None = None
    statuses: list[Status] = []
    pool: str | None = None
    llm: str | None = None
    agent: str | None = None
    from_us: Micros | None = None
    to_us: Micros | None = None
