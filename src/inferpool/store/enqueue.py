"""Inserts the new tasks of a batch."""

from collections.abc import Sequence
from typing import Final

from inferpool.core.clock import DAY, Micros
from inferpool.core.errors import Conflict
from inferpool.core.ids import ServerId, SessionId
from inferpool.core.lifecycle import Status
from inferpool.core.task import ClaimFor, NewTask
from inferpool.store.connection import Connection, Row, Value
from inferpool.store.operations import Enqueue
from inferpool.store.protocol import Enqueued
from inferpool.store.rows import CLAIMER, FIND_KEY
from inferpool.store.statements import json_text

KEY_AGE: Final[Micros] = DAY
"""How long an idempotency key stands (spec section 5)."""

_EMPTY: Final = "{}"
_UNCLAIMED: Final = ("pending", 0, None, None, None, None, None, None)


async def insert(connection: Connection, enqueues: Sequence[Enqueue], now: Micros) -> None:
    """Insert each task, already claimed where its session still stands; attach those with a standing key."""
    fresh = [one for one in enqueues if await _is_new(connection, one, now)]
    claims = {(one.claim.session_id, one.claim.epoch, one.claim.server_id) for one in fresh if one.claim}
    standing = {key for key in sorted(claims) if await stands(connection, *key)}
    await connection.write("enqueue", [_parameters(one, standing, now) for one in fresh])


async def stands(connection: Connection, session_id: SessionId, epoch: int, server_id: ServerId) -> bool:
    """Whether the session may be given work by this server; locks it until the transaction's end."""
    return bool(await connection.read(CLAIMER, [(session_id, epoch, server_id)]))


async def _is_new(connection: Connection, one: Enqueue, now: Micros) -> bool:
    """Whether the task is to be inserted: its key is kept. Else its outcome is what the key stands for."""
    task, key = one.task, one.task.idempotency
    if key is None:
        return True
    found = await connection.read(FIND_KEY, [(task.owner, key.key, now - KEY_AGE)])
    if not found:
        await connection.write("keep_key", [(task.owner, key.key, key.body_hash, task.id, now)])
        return True
    old = found[0]
    if old.body_hash == key.body_hash:
        one.outcome = Enqueued(task_id=old.task_id, status=old.status, created=False, attempt=old.attempt)
    else:
        one.fault = Conflict("the idempotency key was used before with another body", "Idempotency-Key")
    return False


def _parameters(one: Enqueue, standing: set[tuple[SessionId, int, ServerId]], now: Micros) -> Row:
    """The row to insert; sets the outcome."""
    claim = one.claim
    if claim is not None and (claim.session_id, claim.epoch, claim.server_id) not in standing:
        claim = None
    task = one.task
    one.outcome = Enqueued(
        task_id=task.id,
        status=Status.PENDING if claim is None else Status.CLAIMED,
        created=True,
        attempt=0 if claim is None else 1,
    )
    return _row(task, claim, now)


def _row(task: NewTask, claim: ClaimFor | None, now: Micros) -> Row:
    routing = task.routing
    return (
        task.id,
        routing.lane,
        routing.pool_name,
        routing.llm_name,
        routing.model,
        routing.tier,
        task.endpoint,
        int(task.streaming),
        task.priority,
        task.rank,
        task.owner,
        task.agent,
        task.mode.value,
        task.max_tries,
        json_text(task.metadata) if task.metadata else _EMPTY,
        now,
        now,
        now + task.expires_in,
        task.expires_in,
        len(task.request),
        task.content_type,
        json_text(task.headers) if task.headers else _EMPTY,
        task.request,
        *(_UNCLAIMED if claim is None else _claimed(claim, now)),
    )


def _claimed(claim: ClaimFor, now: Micros) -> tuple[Value, ...]:
    limit = claim.run_limit
    return ("claimed", 1, claim.session_id, claim.llm_name, claim.batch, now, now + limit, limit)
