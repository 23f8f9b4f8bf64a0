"""The store over named statements: each verb becomes an operation for the writer."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TypeVar

from inferpool.core.access import AuditEntry, NewToken, Token
from inferpool.core.clock import Micros
from inferpool.core.histogram import Flushes
from inferpool.core.ids import ServerId, SessionId, TaskId, TokenId
from inferpool.core.llm import LlmChange
from inferpool.core.session import Registration
from inferpool.core.task import ClaimedTask, ClaimFor, HeldTask, NewTask
from inferpool.store import sessions as session_verbs
from inferpool.store import sweeps, tasks, tokens
from inferpool.store.connection import Connection, Row
from inferpool.store.operations import Cancel, Complete, Enqueue, Fail, GiveBack, Single, Start, Take, TryAgain
from inferpool.store.protocol import (
    Cancelled,
    Claim,
    Completion,
    Enqueued,
    Failure,
    Moved,
    Registered,
    Retry,
    SessionLoss,
    Settlement,
    Spoken,
)
from inferpool.store.writer import Writer

R = TypeVar("R")


class _TaskVerbs:
    """What happens to single tasks: these share transactions."""

    def __init__(self, writer: Writer, dead_after: Micros) -> None:
        self._writer = writer
        self._dead_after = dead_after

    @property
    def flushes(self) -> Flushes:
        """See `protocol.Store`."""
        return self._writer.flushes

    def enqueue(self, task: NewTask, claim: ClaimFor | None) -> asyncio.Future[Enqueued]:
        """See `protocol.Store`."""
        return self._writer.submit(Enqueue(task, claim))

    def claim(self, claim: Claim) -> asyncio.Future[list[ClaimedTask]]:
        """See `protocol.Store`."""
        return self._writer.submit(Take(claim))

    def start(self, spoken: Spoken) -> None:
        """See `protocol.Store`."""
        self._writer.ride(Start(spoken))

    def complete(self, end: Completion) -> asyncio.Future[Settlement]:
        """See `protocol.Store`."""
        return self._writer.submit(Complete(end))

    def retry(self, end: Retry) -> asyncio.Future[Settlement]:
        """See `protocol.Store`."""
        return self._writer.submit(TryAgain(end))

    def fail(self, end: Failure) -> asyncio.Future[Settlement]:
        """See `protocol.Store`."""
        return self._writer.submit(Fail(end))

    def give_back(self, spoken: Spoken) -> asyncio.Future[Settlement]:
        """See `protocol.Store`."""
        return self._writer.submit(GiveBack(spoken))

    def cancel(self, task_id: TaskId) -> asyncio.Future[Cancelled]:
        """See `protocol.Store`."""
        return self._writer.submit(Cancel(task_id))

    async def replay(self, task_id: TaskId, rank: float, expires_in: Micros) -> Moved:
        """See `protocol.Store`."""
        act = partial(tasks.replay, task_id=task_id, rank=rank, expires_in=expires_in)
        return await self._writer.submit(Single(act, (task_id,), alone=False))

    async def purge(self, task_id: TaskId) -> None:
        """See `protocol.Store`."""
        await self._writer.submit(Single(partial(tasks.purge, task_id=task_id), (task_id,), alone=False))

    async def _alone(self, act: Callable[[Connection], Coroutine[None, None, R]]) -> R:
        """What concerns whole sessions or many rows has a transaction of its own, in its turn among the others."""
        return await self._writer.submit(Single(act, alone=True))


class _SessionVerbs(_TaskVerbs):
    """What happens to a whole session."""

    async def register(self, registration: Registration) -> Registered:
        """See `protocol.Store`."""
        return await self._alone(partial(session_verbs.register, wish=registration, dead_after=self._dead_after))

    async def bind(self, session_id: SessionId, epoch: int, server_id: ServerId) -> list[HeldTask]:
        """See `protocol.Store`."""
        speaker = session_verbs.Speaker(session_id, epoch, server_id)
        return await self._alone(partial(session_verbs.bind, speaker=speaker, dead_after=self._dead_after))

    async def leave(self, session_id: SessionId, epoch: int | None) -> None:
        """See `protocol.Store`."""
        await self._alone(partial(session_verbs.leave, session_id=session_id, epoch=epoch))

    async def deactivate(self, loss: SessionLoss) -> list[Moved] | None:
        """See `protocol.Store`."""
        if loss.orphaned:
            return await self._alone(partial(session_verbs.rescue, loss=loss, dead_after=self._dead_after))
        return await self._alone(partial(session_verbs.deactivate, loss=loss))

    async def set_llm_status(self, session_id: SessionId, epoch: int, change: LlmChange) -> None:
        """See `protocol.Store`."""
        row = (change.status.value, change.slots, change.llm_name, session_id, epoch, change.revision)
        await self._alone(partial(_write, name="set_llm_status", rows=[row]))

    async def beat(self, server_id: ServerId, sessions: Sequence[SessionId]) -> None:
        """See `protocol.Store`."""
        await self._alone(partial(session_verbs.beat, server_id=server_id, heard=list(sessions)))

    async def retire_server(self, server_id: ServerId) -> None:
        """See `servers_protocol.ServersStore`."""
        await self._alone(partial(_write, name="retire_server", rows=[(server_id,)]))

    async def forget_servers(self, age: Micros, limit: int) -> int:
        """See `servers_protocol.ServersStore`."""
        return await self._alone(partial(sweeps.forget_servers, age=age, limit=limit))


class _AccessVerbs(_SessionVerbs):
    """What happens to tokens, what the audit keeps."""

    async def create_token(self, token: NewToken) -> Token:
        """See `access_protocol.AccessStore`."""
        return await self._writer.submit(Single(partial(tokens.create, token=token), alone=False))

    async def revoke_token(self, token_id: TokenId) -> Token:
        """See `access_protocol.AccessStore`."""
        return await self._writer.submit(Single(partial(tokens.revoke, token_id=token_id), alone=False))

    async def use_tokens(self, used: Sequence[tuple[TokenId, Micros]]) -> None:
        """See `access_protocol.AccessStore`."""
        await self._writer.submit(Single(partial(tokens.use, used=used), alone=False))

    async def write_audit(self, entries: Sequence[AuditEntry]) -> None:
        """See `access_protocol.AccessStore`."""
        await self._writer.submit(Single(partial(tokens.write_audit, entries=entries), alone=False))

    async def delete_audit(self, age: Micros, limit: int) -> int:
        """See `access_protocol.AccessStore`."""
        return await self._alone(partial(tokens.delete_audit, age=age, limit=limit))


class SqlStore(_AccessVerbs):
    """`protocol.Store` over a writer. A server without a heartbeat for `dead_after` is dead."""

    async def make_ready(self, limit: int) -> list[Moved]:
        """See `protocol.Store`."""
        return await self._alone(partial(sweeps.make_ready, limit=limit))

    async def expire(self, limit: int) -> list[Moved]:
        """See `protocol.Store`."""
        return await self._alone(partial(sweeps.expire, limit=limit))

    async def end_overdue(self, limit: int) -> list[Moved]:
        """See `protocol.Store`."""
        return await self._alone(partial(sweeps.end_overdue, limit=limit))

    async def end_unserved(self, limit: int) -> list[Moved]:
        """See `protocol.Store`."""
        return await self._alone(partial(sweeps.end_unserved, limit=limit))

    async def deactivate_silent(self, age: Micros, limit: int) -> list[Moved]:
        """See `protocol.Store`."""
        return await self._alone(partial(sweeps.deactivate_silent, age=age, limit=limit))

    async def forget_sessions(self, age: Micros, limit: int) -> int:
        """See `protocol.Store`."""
        return await self._alone(partial(sweeps.forget_sessions, age=age, limit=limit))

    async def delete_ended(self, age: Micros, limit: int) -> int:
        """See `protocol.Store`."""
        return await self._alone(partial(sweeps.delete_ended, age=age, limit=limit))

    async def delete_chunks(self, age: Micros, limit: int) -> int:
        """See `protocol.Store`."""
        return await self._alone(partial(sweeps.delete_chunks, age=age, limit=limit))

    async def delete_keys(self, age: Micros, limit: int) -> int:
        """See `protocol.Store`."""
        return await self._alone(partial(sweeps.delete_keys, age=age, limit=limit))

    async def write_clocks(self, clocks: Sequence[tuple[str, float]]) -> None:
        """See `protocol.Store`."""
        await self._alone(partial(_write, name="write_clock", rows=clocks))


async def _write(connection: Connection, name: str, rows: Sequence[Row]) -> None:
    await connection.write(name, rows)
