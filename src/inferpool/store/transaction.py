"""One transaction of the writer: a batch's statements, its commit, its bisection around a bad row."""

import contextlib
from collections.abc import Iterator
from typing import Final

from inferpool.core import failpoints
from inferpool.core.clock import Micros
from inferpool.core.errors import StoreUnavailable
from inferpool.store import claims, endings, enqueue, tasks
from inferpool.store.connection import Connection, RowRefused, TransactionLost
from inferpool.store.operations import Batch, Waiting
from inferpool.store.rows import Claimer

TRIES: Final = 5
"""How often a transaction is made that other servers, or a broken connection, undo."""

_PASSING: Final = contextlib.suppress(StoreUnavailable)


async def commit(connection: Connection, operations: list[Waiting]) -> None:
    """Make the operations durable in one transaction; each keeps its outcome or its fault.

    A bad row must not fail its batch: the halves are tried again, until it stands alone. When the database cannot work
    at all, every operation has that as its fault, and nothing of them was kept.
    """
    try:
        batch = await _transact(connection, operations)
    except StoreUnavailable as fault:
        await _undo(connection)
        for operation in operations:
            operation.fault = fault
    except Exception as fault:  # noqa: BLE001 - a defect in one operation must stop neither its batch nor the writer
        await _undo(connection)
        await _isolate(connection, operations, fault)
    else:
        _reach(batch, "after")


async def _isolate(connection: Connection, operations: list[Waiting], fault: Exception) -> None:
    if len(operations) == 1:
        operations[0].fault = fault.error if isinstance(fault, RowRefused) else fault
        return
    middle = len(operations) // 2
    await commit(connection, operations[:middle])
    await commit(connection, operations[middle:])


async def _undo(connection: Connection) -> None:
    # A transaction that cannot even be undone is found, then undone, by the next `begin`.
    with _PASSING:
        await connection.rollback()


async def _transact(connection: Connection, operations: list[Waiting]) -> Batch:
    """Make the transaction, again where it was lost by nobody's fault. Raises `StoreUnavailable` when that goes on."""
    why: TransactionLost | None = None
    for _ in range(TRIES):
        batch = Batch(operations)
        try:
            now = await connection.begin()
            await _run(connection, batch, now)
            _reach(batch, "before")
            await connection.commit()
        except TransactionLost as lost:
            await _undo(connection)
            why = lost
        else:
            return batch
    raise StoreUnavailable(f"the database cannot work: {why}") from why


async def _run(connection: Connection, batch: Batch, now: Micros) -> None:
    # Sessions are locked before tasks, by every transaction that locks both.
    claimers = await enqueue.standing(connection, _claimers(batch))
    await _end(connection, batch, now)
    if batch.enqueues:
        await enqueue.insert(connection, batch.enqueues, claimers, now)
    if batch.claims:
        await claims.claim(connection, batch.claims, claimers, now)
    for single in batch.singles:
        await single.perform(connection)


def _claimers(batch: Batch) -> Iterator[Claimer]:
    """The sessions that a batch wants to give work to."""
    yield from (enqueue.claimer(one.claim) for one in batch.enqueues if one.claim is not None)
    yield from (enqueue.claimer(one.wish) for one in batch.claims)


async def _end(connection: Connection, batch: Batch, now: Micros) -> None:
    """What begins to run, then what ends."""
    if batch.starts:
        await endings.start(connection, batch.starts, now)
    if batch.completions:
        await endings.complete(connection, batch.completions, now)
    if batch.failures:
        await endings.fail(connection, batch.failures, now)
    if batch.retries:
        await endings.retry(connection, batch.retries, now)
    if batch.returns:
        await endings.give_back(connection, batch.returns, now)
    if batch.cancels:
        await tasks.cancel(connection, batch.cancels, now)


def _reach(batch: Batch, side: str) -> None:
    if batch.enqueues:
        failpoints.reach(f"enqueue.{side}_commit")
    if batch.ends:
        failpoints.reach(f"uplink.{side}_commit")
