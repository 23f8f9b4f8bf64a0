"""The port to durability: one method a verb, each durable when it returns.

`Store` changes rows, `StoreReader` only looks. Every transition is one compare-and-swap on (id, status, attempt), with
`claimed_by` when a session speaks; what the law of `core/lifecycle.py` refuses comes back as a verdict, never as a
silent success. Any method may raise `StoreUnavailable` (disk full, database away, writer's buffer full): then nothing of it
was kept. A horizon is an age in microseconds, compared with the database's own clock inside the statement.
"""

from asyncio import Future
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from inferpool.core.clock import Micros
from inferpool.core.histogram import Flushes
from inferpool.core.ids import BatchId, ServerId, SessionId, TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.llm import Llm, LlmChange
from inferpool.core.session import HeldAttempt, Registration, Session
from inferpool.core.task import (
    Answer,
    Attempt,
    ClaimedTask,
    ClaimFor,
    Fault,
    HeldTask,
    NewTask,
    PendingTask,
    StoredTask,
    TaskFilter,
    TaskRow,
    Usage,
)
from inferpool.core.turns import Turns
from inferpool.store.access_protocol import AccessReader, AccessStore
from inferpool.store.servers_protocol import ServersReader, ServersStore


class Verdict(StrEnum):
    """What became of something that a session said about an attempt."""

    DONE = "done"
    REPEAT = "repeat"
    """It ended this attempt already (its history row tells): acknowledged again."""
    STALE = "stale"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Spoken(msgspec.Struct, frozen=True):
    """Who says something about which attempt."""

    task_id: TaskId
    attempt: int
    session_id: SessionId


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt's answer. `chunks` is the packed stream (core/stream.py), None for an unstreamed one."""

    spoken: Spoken
    answer: Answer
    usage: Usage | None = None
    chunks: bytes | None = None


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A failed attempt that may be made again after `delay`; the last try's answer and fault are kept."""

    spoken: Spoken
    fault: Fault
    answer: Answer | None = None
    delay: Micros
    counts: bool = True


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that ends its task for good. `detail` goes to the history only (an engine's answer about our key)."""

    spoken: Spoken
    fault: Fault
    answer: Answer | None = None
    usage: Usage | None = None
    detail: str | None = None


class Enqueued(msgspec.Struct, frozen=True, kw_only=True):
    """What an enqueue made, or found under the caller's idempotency key."""

    task_id: TaskId
    status: Status
    created: bool
    """False: the key was known with the same body; `task_id` is the task that it made."""
    attempt: int


class LanesWant(msgspec.Struct, frozen=True, kw_only=True):
    """One lane that an engine with free slots may take from, for one of its llms."""

    lane: str
    llm_name: str
    endpoints: list[str] | None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Claims up to `free` tasks of the lanes for one engine of a session."""

    session_id: SessionId
    epoch: int
    server_id: ServerId
    batch: BatchId
    free: int
    lanes: list[LanesWant]
    run_limit: Micros
    turns: Turns
    """The engine's own account of its lanes (core/turns.py): the store asks it which candidates to take."""


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A row that changed by a rule rather than by its own session: what dispatch must tell watchers, order, slots."""

    task_id: TaskId
    status: Status
    attempt: int
    lane: str
    owner: str
    priority: str
    rank: float
    size: int
    ready: bool
    session_id: SessionId | None
    """The session that held it before."""


class Settlement(msgspec.Struct, frozen=True):
    """The verdict with the row's status after it (None: no such row)."""

    verdict: Verdict
    status: Status | None = None
    moved: Moved | None = None
    """The row, where a retry or a give back put it back in the queue."""


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """What a registration found: `resume` is still (or again) the session's, `drop` is not; `moved` was reverted or
    adopted (status claimed)."""

    epoch: int
    llms: list[Llm]
    resume: list[HeldTask]
    drop: list[HeldAttempt]
    moved: list[Moved]


class Cancelled(msgspec.Struct, frozen=True):
    """A cancel's outcome: `moved` is None when the task had ended before (or is gone: `status` None)."""

    status: Status | None
    moved: Moved | None


class TaskStore(Protocol):
    """The verbs of a task.

    The verbs of the hot path are plain functions: the operation is in the writer's hands when they return, the future
    resolves once it is durable. So a batch of them shares one commit without a task each.
    """

    def enqueue(self, task: NewTask, claim: ClaimFor | None) -> Future[Enqueued]:
        """Insert the task, already claimed when `claim`'s session is still active with that epoch at that server.

        Raises `Conflict` when the idempotency key stands with another body.
        """
        ...

    def claim(self, claim: Claim) -> Future[list[ClaimedTask]]:
        """Claim ready tasks by (rank, id), the lanes in turn; nothing when the session moved, ended or leaves."""
        ...

    def start(self, spoken: Spoken) -> None:
        """Note that the engine answered 2xx: rides on the next flush, costs no commit of its own."""
        ...

    def complete(self, end: Completion) -> Future[Settlement]: ...

    def retry(self, end: Retry) -> Future[Settlement]:
        """Pending again with `ready` false, or `error` when no try is left."""
        ...

    def fail(self, end: Failure) -> Future[Settlement]: ...

    def give_back(self, spoken: Spoken) -> Future[Settlement]: ...

    def cancel(self, task_id: TaskId) -> Future[Cancelled]: ...

    async def replay(self, task_id: TaskId, rank: float, expires_in: Micros) -> Moved:
        """Raises `NotFound`, or `Conflict` for a task that is not in error or cancelled."""
        ...

    async def purge(self, task_id: TaskId) -> None:
        """Delete an ended task with its history, chunks. Raises `NotFound`, or `Conflict` while it lives."""
        ...


class SessionStore(Protocol):
    """What sessions do: register, bind, leave, get lost."""

    async def register(self, registration: Registration) -> Registered:
        """Raises `Forbidden` (wrong secret or subject), `SessionReplaced`, `NameInUse`; then nothing changed."""
        ...

    async def bind(self, session_id: SessionId, epoch: int, server_id: ServerId) -> list[HeldTask]:
        """Move the session to this server: once an epoch, at whichever server. Raises `SessionReplaced`, `SessionInactive`."""
        ...

    async def leave(self, session_id: SessionId, epoch: int | None) -> None:
        """Begin the leave (repeatable): its llms go inactive, nothing more is claimed."""
        ...

    async def deactivate(self, loss: "SessionLoss") -> list[Moved] | None:
        """End a session: inactive, its llms too, what it held reverts. None when the recheck found it alive or moved."""
        ...

    async def set_llm_status(self, session_id: SessionId, epoch: int, change: LlmChange) -> None:
        """Publish what a worker says of one of its llms; nothing when it moved on, or told something newer."""
        ...


class Upkeep(Protocol):
    """What no caller asks for: heartbeats, rules that fall due, clean-up. Each call is one transaction."""

    async def beat(self, server_id: ServerId, sessions: Sequence[SessionId]) -> None:
        """Write the heartbeat of the server with those of the sessions it heard since the last beat."""
        ...

    async def make_ready(self, limit: int) -> list[Moved]:
        """Tasks whose back-off is over become ready."""
        ...

    async def expire(self, limit: int) -> list[Moved]:
        """Pending tasks past `expires_at` (and not lost by a session that may still deliver) end in `expired`."""
        ...

    async def end_overdue(self, limit: int) -> list[Moved]:
        """Held tasks past their `deadline` end in `engine_timeout`."""
        ...

    async def end_unserved(self, limit: int) -> list[Moved]:
        """Pending tasks of `live` and `never` calls that no live llm could serve end in `llm_unavailable`."""
        ...

    async def deactivate_silent(self, age: Micros, limit: int) -> list[Moved]:
        """Sessions without a heartbeat for `age` are lost, as in `deactivate`."""
        ...

    async def forget_sessions(self, age: Micros, limit: int) -> int:
        """Delete sessions inactive for `age`, their llms first; clears `lost_by` that names them. Returns how many."""
        ...

    async def delete_ended(self, age: Micros, limit: int) -> int:
        """Delete tasks that ended longer ago than `age`, with history. Returns how many."""
        ...

    async def delete_chunks(self, age: Micros, limit: int) -> int: ...

    async def delete_keys(self, age: Micros, limit: int) -> int:
        """Delete idempotency keys older than `age`."""
        ...

    async def write_clocks(self, clocks: Sequence[tuple[str, float]]) -> None:
        """Keep the lanes' virtual times; a stored one never falls."""
        ...


class Store(TaskStore, SessionStore, Upkeep, AccessStore, ServersStore, Protocol):
    """Every change of a row."""

    @property
    def flushes(self) -> Flushes:
        """Its transactions so far: how many operations each carried, how long each took."""
        ...


class SessionLoss(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a session's grace or leave, with what its statement rechecks."""

    session_id: SessionId
    epoch: int
    server_id: ServerId
    silent_for: Micros
    """Its last heartbeat must be at least this old (0: whatever its age)."""
    counts: bool
    """Whether the reverts cost a try: no after a leave, a server's restart."""
    orphaned: bool = False
    """Only while its server is dead: an age of that server's heartbeat, rechecked with the rest."""
    unwritten: list[HeldAttempt]
    """Attempts whose frames were never handed over: they cost no try."""


class StoreReader(AccessReader, ServersReader, Protocol):
    """Looks at rows; never waits for a writer."""

    async def task(self, task_id: TaskId) -> StoredTask | None: ...

    async def row(self, task_id: TaskId) -> TaskRow | None: ...

    async def attempts(self, task_id: TaskId) -> list[Attempt]: ...

    async def chunks(self, task_id: TaskId) -> tuple[int, bytes] | None:
        """The winning attempt's number with its packed stream, while they are kept."""
        ...

    async def position(self, task_id: TaskId) -> int | None:
        """How many ready tasks of its lane stand before it, plus one; counted up to 1 000. None unless pending."""
        ...

    async def tasks(self, which: TaskFilter, before: TaskId | None, limit: int) -> list[TaskRow]:
        """Newest first."""
        ...

    async def llms(self, after: str | None, limit: int) -> list[Llm]:
        """By name."""
        ...

    async def sessions(self, before: SessionId | None, limit: int, subject: str | None = None) -> list[Session]: ...

    async def session(self, session_id: SessionId) -> Session | None: ...

    async def secret_hash(self, session_id: SessionId) -> str | None: ...

    async def clocks(self) -> list[tuple[str, float]]: ...

    async def pending(self, after: TaskId | None, limit: int) -> list[PendingTask]:
        """All waiting tasks in the order of their ids, a page at a time: read back when a server starts."""
        ...

    async def oldest(self, lanes: Sequence[str], depth: int) -> list[tuple[str, Micros]]:
        """When the earliest among the first `depth` ready tasks of each lane was made; lanes without any are left out."""

    async def waiting_lanes(self, lanes: Sequence[str]) -> list[str]:
        """Those of the lanes that hold a ready task: the one-second poll's look, one index probe a lane."""
        ...
