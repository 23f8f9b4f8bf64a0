"""The port to what the servers of one database know of each other: a part of `Store` as of `StoreReader`.

Errors are those of `protocol.py`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from inferpool.core.clock import Micros
from inferpool.core.ids import ServerId, SessionId, TaskId
from inferpool.core.lifecycle import Ending, Status
from inferpool.core.llm import Llm


class TaskStanding(msgspec.Struct, frozen=True):
    """Where a task stands: who holds it, which server serves that session. Both None unless it is held."""

    task_id: TaskId
    status: Status
    attempt: int
    session_id: SessionId | None
    server_id: ServerId | None


class AttemptEnding(msgspec.Struct, frozen=True):
    """How an attempt ended."""

    task_id: TaskId
    attempt: int
    ending: Ending


class SessionStanding(msgspec.Struct, frozen=True):
    """Where a session stands. `alive`: its server has a fresh heartbeat."""

    session_id: SessionId
    epoch: int
    active: bool
    leaving: bool
    server_id: ServerId
    subject: str
    secret_hash: str
    bound: bool
    """Its epoch has had its channel, at whichever server."""
    alive: bool


class Orphan(msgspec.Struct, frozen=True):
    """An active session whose server is dead."""

    session_id: SessionId
    epoch: int
    server_id: ServerId


class LaneCount(msgspec.Struct, frozen=True):
    """How much is pending in a lane: tasks, bytes of their requests."""

    lane: str
    tasks: int
    size: int


class ServersReader(Protocol):
    """Looks at what other servers did."""

    async def standings(self, task_ids: Sequence[TaskId]) -> list[TaskStanding]:
        """Where these tasks stand, in one statement; those that are gone are left out."""
        ...

    async def endings(self, attempts: Sequence[tuple[TaskId, int]]) -> list[AttemptEnding]:
        """How these attempts ended; those that did not are left out."""
        ...

    async def session_standings(self, session_ids: Sequence[SessionId]) -> list[SessionStanding]:
        """Where these sessions stand, in one statement; those that are gone are left out."""
        ...

    async def llms_of(self, session_id: SessionId) -> list[Llm]:
        """What a session publishes, by name."""
        ...

    async def servers(self) -> list[ServerId]:
        """The servers with a fresh heartbeat."""
        ...

    async def orphans(self, limit: int) -> list[Orphan]:
        """Active sessions whose server has no fresh heartbeat."""
        ...

    async def pending_counts(self) -> list[LaneCount]:
        """How much is pending in each lane where anything is: reads every pending row."""
        ...


class ServersStore(Protocol):
    """Changes the rows of servers."""

    async def retire_server(self, server_id: ServerId) -> None:
        """This server ends: the others need not wait for its heartbeat to grow old."""
        ...

    async def forget_servers(self, age: Micros, limit: int) -> int:
        """Delete servers without a heartbeat for `age` that no active session names. Returns how many."""
        ...


class Note(msgspec.Struct, frozen=True):
    """A text for whoever hears a channel: at most `NOTE_LIMIT` bytes in UTF-8, without NUL."""

    channel: str
    text: str


NOTE_LIMIT = 7_900
"""Bytes of one note (PostgreSQL takes less than 8 000)."""


class Signals(Protocol):
    """Hints between servers: quick, in the sender's order, perhaps lost, never needed for correctness."""

    async def send(self, notes: Sequence[Note]) -> None:
        """Send them in their order, after what was sent before. Raises `StoreUnavailable`: then some may have been lost."""
        ...

    async def listen(self, channels: Sequence[str], hear: Callable[[str], None], linked: Callable[[], None]) -> None:
        """Hear what others (this one too) send on these channels, until cancelled.

        `linked` is called each time that hearing begins, anew after each break: whatever was sent before is perhaps lost.
        """
        ...
