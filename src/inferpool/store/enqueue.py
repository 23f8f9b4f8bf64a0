"""Inserts the new tasks of a batch."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from inferpool.core.clock import DAY, Micros
from inferpool.core.errors import Conflict
from inferpool.core.lifecycle import Status
from inferpool.core.task import ClaimFor, IdempotencyKey, NewTask
from inferpool.store.connection import Connection, Row, TransactionLost, Value
from inferpool.store.operations import Enqueue
from inferpool.store.protocol import Claim, Enqueued
from inferpool.store.rows import CLAIMER, FIND_KEY, Claimer, StandingKey
from inferpool.store.statements import json_text

KEY_AGE: Final[Micros] = DAY
"""How long an idempotency key stands (spec section 5)."""

_EMPTY: Final = "{}"
_UNCLAIMED: Final = ("pending", 0, None, None, None, None, None, None)


def claimer(claim: ClaimFor | Claim) -> Claimer:
    """Which session, under which epoch, at which server wants the work."""
    return Claimer(claim.session_id, claim.epoch, claim.server_id)


async def standing(connection: Connection, claimers: Iterable[Claimer]) -> set[Claimer]:
    """Those that may be given work; locks their sessions until the transaction's end, in the order of their ids."""
    rows = sorted({(one.session_id, one.epoch, one.server_id) for one in claimers})
    return set(await connection.read(CLAIMER, rows)) if rows else set()


async def insert(
    connection: Connection, enqueues: Sequence[Enqueue], claimers: Collection[Claimer], now: Micros
) -> None:
    """Insert each task, already claimed where its session is among the claimers; attach those with a standing key."""
    fresh = await _without_known(connection, enqueues, now)
    await connection.write("enqueue", [_parameters(one, claimers, now) for one in fresh])


async def _without_known(connection: Connection, enqueues: Sequence[Enqueue], now: Micros) -> list[Enqueue]:
    """The tasks to insert: their keys are kept. Each other's outcome is what its key stands for."""
    keyed = [(one, one.task.idempotency) for one in enqueues if one.task.idempotency is not None]
    if not keyed:
        return list(enqueues)
    found = await connection.read(FIND_KEY, [(one.task.owner, key.key, now - KEY_AGE) for one, key in keyed])
    known = {(one.owner, one.key): one for one in found}
    kept: list[Row] = []
    old: set[Enqueue] = set()
    for one, key in keyed:
        before = known.get((one.task.owner, key.key))
        if before is not None and before.stands:
            _attach(one, key, before)
            old.add(one)
        else:
            seen = None if before is None else before.task_id
            kept.append((one.task.owner, key.key, key.body_hash, one.task.id, now, seen))
    if not all(await connection.change("keep_key", kept)):
        raise TransactionLost("another server kept one of the keys meanwhile")
    return [one for one in enqueues if one not in old]


def _attach(one: Enqueue, key: IdempotencyKey, old: StandingKey) -> None:
    """The outcome of a repeat."""
    if old.body_hash != key.body_hash:
        one.fault = Conflict("the idempotency key was used before with another body", "Idempotency-Key")
    else:
        one.outcome = Enqueued(task_id=old.task_id, status=old.status, created=False, attempt=old.attempt)


def _parameters(one: Enqueue, claimers: Collection[Claimer], now: Micros) -> Row:
    """The row to insert; sets the outcome."""
    claim = one.claim if one.claim is not None and claimer(one.claim) in claimers else None
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
        str(task.mode),
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
