"""What callers, owners, operators do to one task."""

from collections.abc import Sequence

from inferpool.core.clock import Micros
from inferpool.core.errors import Conflict, NotFound
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.store.connection import Connection
from inferpool.store.operations import Cancel
from inferpool.store.protocol import Cancelled, Moved
from inferpool.store.rows import CANCEL_LOOK, NOW, REPLAY, STATUS_OF


async def now_us(connection: Connection) -> Micros:
    """The database's clock."""
    return (await connection.read(NOW, [()]))[0].now


async def cancel(connection: Connection, cancels: Sequence[Cancel], now: Micros) -> None:
    """Cancel the tasks that have not ended."""
    looked = {one.task_id: one for one in await connection.read(CANCEL_LOOK, [(one.task_id,) for one in cancels])}
    held = [one for one in looked.values() if one.session_id is not None]
    history = [(now, "cancelled", None, None, None, one.task_id, one.attempt, one.session_id) for one in held]
    await connection.write("end_attempt", history)
    await connection.write("cancel", [(now, task_id) for task_id in looked])
    missed = [(one.task_id,) for one in cancels if one.task_id not in looked]
    stands = {one.task_id: one.status for one in await connection.read(STATUS_OF, missed)}
    for one in cancels:
        moved = looked.get(one.task_id)
        one.outcome = Cancelled(stands.get(one.task_id) if moved is None else Status.CANCELLED, moved)


async def replay(connection: Connection, task_id: TaskId, rank: float, expires_in: Micros) -> Moved:
    """Queue an ended task anew. Raises `NotFound`, `Conflict`."""
    now = await now_us(connection)
    moved = await connection.read(REPLAY, [(rank, now, now + expires_in, expires_in, task_id)])
    if moved:
        await connection.write("free_key", [(task_id,)])
        return moved[0]
    status = await _status(connection, task_id)
    if status is None:
        raise NotFound(f"there is no task {task_id}")
    raise Conflict(f"the task is {status}: only one in error or cancelled can be replayed")


async def purge(connection: Connection, task_id: TaskId) -> None:
    """Delete an ended task with all that belongs to it. Raises `NotFound`, `Conflict`."""
    if (await connection.change("delete_task", [(task_id,)]))[0]:
        await forget(connection, [task_id])
        return
    status = await _status(connection, task_id)
    if status is None:
        raise NotFound(f"there is no task {task_id}")
    raise Conflict(f"the task is {status}: cancel it before you purge it")


async def forget(connection: Connection, task_ids: list[TaskId]) -> None:
    """Delete what belonged to tasks that are gone."""
    rows = [(task_id,) for task_id in task_ids]
    await connection.write("delete_history", rows)
    await connection.write("delete_stream", rows)


async def _status(connection: Connection, task_id: TaskId) -> Status | None:
    found = await connection.read(STATUS_OF, [(task_id,)])
    return found[0].status if found else None
