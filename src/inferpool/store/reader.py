"""Looks at rows through connections of its own: it never waits for the writer."""

from collections.abc import Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec

from inferpool.core.access import AuditEntry, Token
from inferpool.core.clock import Micros
from inferpool.core.ids import ServerId, SessionId, TaskId, TokenId
from inferpool.core.llm import Llm
from inferpool.core.session import Session
from inferpool.core.task import Attempt, PendingTask, StoredTask, TaskFilter, TaskRow
from inferpool.store.access_protocol import AuditFilter
from inferpool.store.connection import Connection, Row, RowRefused
from inferpool.store.rows import (
    ANY_TOKEN,
    ATTEMPTS,
    AUDIT,
    CHUNKS,
    CLOCKS,
    ENDING,
    LAPSED_TOKENS,
    LLMS,
    LLMS_OF_SESSION,
    OLDEST,
    ONE_SESSION,
    ONE_TOKEN,
    ORPHANS,
    PENDING,
    PENDING_COUNTS,
    POSITION,
    ROW,
    SECRET_HASH,
    SERVERS,
    SESSION_STANDING,
    SESSIONS,
    STANDING,
    TASK,
    TASKS,
    TASKS_OF_OWNER,
    TOKENS,
    VALID_TOKEN,
    WAITING_LANE,
)
from inferpool.store.runners import Runner
from inferpool.store.servers_protocol import AttemptEnding, LaneCount, Orphan, SessionStanding, TaskStanding
from inferpool.store.statements import Statement, json_text

T = TypeVar("T", bound=msgspec.Struct)

_BEYOND: Final = "~"
"""Sorts after every id."""


class Desk:
    """One reading connection with where it works; `busy` reads stand at it."""

    def __init__(self, connection: Connection, runner: Runner) -> None:
        self.busy = 0
        self._connection = connection
        self._runner = runner

    async def read(self, statement: Statement[T], rows: Sequence[Row]) -> list[T]:
        """Run the statement for each row of parameters. What the database could never hold is found in no row of it."""
        self.busy += 1
        try:
            return await self._runner.run(partial(self._connection.read, statement, rows))
        except RowRefused:
            return []
        finally:
            self.busy -= 1


class _Desks:
    """One or more reading connections; each read goes to the one with the least to do."""

    def __init__(self, desks: Sequence[Desk]) -> None:
        self._desks = desks

    async def _read(self, statement: Statement[T], parameters: Row) -> list[T]:
        return await self._desk().read(statement, [parameters])

    def _desk(self) -> Desk:
        return min(self._desks, key=_busy)


class _AccessReads(_Desks):
    """Looks at tokens with the audit."""

    async def tokens(self, before: TokenId | None, limit: int) -> list[Token]:
        """Newest first."""
        return await self._read(TOKENS, (before or _BEYOND, limit))

    async def token(self, token_id: TokenId) -> Token | None:
        """One by its id."""
        return _first(await self._read(ONE_TOKEN, (token_id,)))

    async def valid_token(self, token_hash: str) -> Token | None:
        """One by its hash, while it lets in."""
        return _first(await self._read(VALID_TOKEN, (token_hash,)))

    async def any_token(self) -> bool:
        """Whether one was ever made."""
        return bool(await self._read(ANY_TOKEN, ()))

    async def lapsed_tokens(self, age: Micros) -> list[TokenId]:
        """Those that ceased to let in within the last `age`."""
        return [one.token_id for one in await self._read(LAPSED_TOKENS, (age,))]

    async def audit(self, which: AuditFilter, before: str | None, limit: int) -> list[AuditEntry]:
        """Newest first."""
        start = before or _BEYOND
        given = (which.subject, which.outcome, which.from_us, which.to_us)
        return await self._read(AUDIT, (start, *given, limit))


class _ServersReads(_AccessReads):
    """Looks at what other servers did."""

    def __init__(self, desks: Sequence[Desk], dead_after: Micros) -> None:
        super().__init__(desks)
        self._dead_after = dead_after

    async def standings(self, task_ids: Sequence[TaskId]) -> list[TaskStanding]:
        """Where these tasks stand; those that are gone are left out."""
        return await self._desk().read(STANDING, [(task_id,) for task_id in task_ids])

    async def endings(self, attempts: Sequence[tuple[TaskId, int]]) -> list[AttemptEnding]:
        """How these attempts ended; those that did not are left out."""
        return await self._desk().read(ENDING, attempts)

    async def session_standings(self, session_ids: Sequence[SessionId]) -> list[SessionStanding]:
        """Where these sessions stand; those that are gone are left out."""
        rows = [(self._dead_after, session_id) for session_id in session_ids]
        return await self._desk().read(SESSION_STANDING, rows)

    async def llms_of(self, session_id: SessionId) -> list[Llm]:
        """What a session publishes, by name."""
        return await self._read(LLMS_OF_SESSION, (session_id,))

    async def servers(self) -> list[ServerId]:
        """The servers with a fresh heartbeat."""
        return [one.server_id for one in await self._read(SERVERS, (self._dead_after,))]

    async def orphans(self, limit: int) -> list[Orphan]:
        """Active sessions whose server has no fresh heartbeat; those that were silent longest first."""
        return await self._read(ORPHANS, (self._dead_after, limit))

    async def pending_counts(self) -> list[LaneCount]:
        """How much is pending in each lane where anything is."""
        return await self._read(PENDING_COUNTS, ())


class SqlReader(_ServersReads):
    """`protocol.StoreReader` over named statements. A server without a heartbeat for `dead_after` is dead."""

    async def task(self, task_id: TaskId) -> StoredTask | None:
        """The task with its bodies."""
        found = await self._read(TASK, (task_id,))
        if not found:
            return None
        full = found[0]
        row = msgspec.convert(full, TaskRow, from_attributes=True)
        return StoredTask(row, full.request, full.content_type, full.headers, full.response)

    async def row(self, task_id: TaskId) -> TaskRow | None:
        """The task without its bodies."""
        return _first(await self._read(ROW, (task_id,)))

    async def attempts(self, task_id: TaskId) -> list[Attempt]:
        """Its history, in order."""
        return await self._read(ATTEMPTS, (task_id,))

    async def chunks(self, task_id: TaskId) -> tuple[int, bytes] | None:
        """The winning attempt's number with its packed stream, while they are kept."""
        kept = _first(await self._read(CHUNKS, (task_id,)))
        return None if kept is None else (kept.attempt, kept.packed)

    async def position(self, task_id: TaskId) -> int | None:
        """Its place in its lane, counted to 1 000; None unless pending."""
        place = _first(await self._read(POSITION, (task_id,)))
        return None if place is None else place.position

    async def tasks(self, which: TaskFilter, before: TaskId | None, limit: int) -> list[TaskRow]:
        """Newest first."""
        start = before or _BEYOND
        conditions = (start, limit, *_conditions(which))
        if which.owner is None:
            return await self._read(TASKS, conditions)
        return await self._read(TASKS_OF_OWNER, (*conditions, which.owner))

    async def llms(self, after: str | None, limit: int) -> list[Llm]:
        """By name."""
        return await self._read(LLMS, (after or "", limit))

    async def sessions(self, before: SessionId | None, limit: int, subject: str | None = None) -> list[Session]:
        """Newest first; those of one subject, if it is given."""
        return await self._read(SESSIONS, (before or _BEYOND, subject, limit))

    async def session(self, session_id: SessionId) -> Session | None:
        """One by its id."""
        return _first(await self._read(ONE_SESSION, (session_id,)))

    async def secret_hash(self, session_id: SessionId) -> str | None:
        """What its secret must hash to."""
        kept = _first(await self._read(SECRET_HASH, (session_id,)))
        return None if kept is None else kept.secret_hash

    async def clocks(self) -> list[tuple[str, float]]:
        """Every lane's virtual time."""
        return [(one.lane, one.virtual_time) for one in await self._read(CLOCKS, ())]

    async def pending(self, after: TaskId | None, limit: int) -> list[PendingTask]:
        """Waiting tasks in the order of their ids."""
        return await self._read(PENDING, (after or "", limit))

    async def oldest(self, lanes: Sequence[str], depth: int) -> list[tuple[str, Micros]]:
        """When the earliest among the first ready tasks of each lane was made."""
        found = await self._desk().read(OLDEST, [(lane, depth) for lane in lanes])
        return [(one.lane, one.created_at) for one in found]

    async def waiting_lanes(self, lanes: Sequence[str]) -> list[str]:
        """Those of the lanes that hold a ready task."""
        found = await self._desk().read(WAITING_LANE, [(lane,) for lane in lanes])
        return [one.lane for one in found]


def _busy(desk: Desk) -> int:
    return desk.busy


def _first(found: list[T]) -> T | None:
    return found[0] if found else None


def _conditions(which: TaskFilter) -> Row:
    statuses = json_text(which.statuses) if which.statuses else None
    return (statuses, which.pool, which.llm, which.agent, which.from_us, which.to_us)
