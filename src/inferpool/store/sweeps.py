"""What polls, what sweeps do: each rechecks its horizon in its own statements, so that twice changes nothing."""

from inferpool.core.clock import Micros
from inferpool.core.errors import Code
from inferpool.core.ids import TaskId
from inferpool.store.connection import Connection
from inferpool.store.protocol import Moved, SessionLoss
from inferpool.store.rows import (
    DELETE_CHUNKS,
    DELETE_KEYS,
    END_UNSERVED,
    ENDED_TASKS,
    EXPIRE,
    FORGET_SERVERS,
    FORGOTTEN_SESSIONS,
    MAKE_READY,
    OVERDUE,
    SILENT_SESSIONS,
)
from inferpool.store.sessions import deactivate
from inferpool.store.tasks import forget, now_us


async def make_ready(connection: Connection, limit: int) -> list[Moved]:
    """Tasks whose back-off is over become ready."""
    return await connection.read(MAKE_READY, [(limit,)])


async def expire(connection: Connection, limit: int) -> list[Moved]:
    """Pending tasks past their time end in `expired`."""
    return await connection.read(EXPIRE, [(limit,)])


async def end_unserved(connection: Connection, limit: int) -> list[Moved]:
    """Pending tasks of calls that would not queue end once no live llm could serve them."""
    return await connection.read(END_UNSERVED, [(limit,)])


async def end_overdue(connection: Connection, limit: int) -> list[Moved]:
    """Held tasks past their run limit end in `engine_timeout`."""
    overdue = await connection.read(OVERDUE, [(limit,)])
    now = await now_us(connection)
    end = (now, "failed", Code.ENGINE_TIMEOUT.value, "the run limit is over", None)
    await connection.write("end_attempt", [(*end, one.task_id, one.attempt, one.session_id) for one in overdue])
    await connection.write("end_overdue", [(now, one.task_id, one.attempt, one.session_id, now) for one in overdue])
    return overdue


async def deactivate_silent(connection: Connection, age: Micros, limit: int) -> list[Moved]:
    """Sessions without a heartbeat for `age` are lost."""
    moved: list[Moved] = []
    for one in await connection.read(SILENT_SESSIONS, [(age, limit)]):
        loss = SessionLoss(
            session_id=one.session_id,
            epoch=one.epoch,
            server_id=one.server_id,
            silent_for=age,
            counts=True,
            unwritten=[],
        )
        moved += await deactivate(connection, loss) or []
    return moved


async def forget_sessions(connection: Connection, age: Micros, limit: int) -> int:
    """Delete sessions that ended `age` ago: their llms, what names them, then themselves."""
    found = await connection.read(FORGOTTEN_SESSIONS, [(age, limit)])
    rows = [(one.session_id,) for one in found]
    await connection.write("delete_session_llms", rows)
    await connection.write("clear_lost", rows)
    await connection.write("delete_session", rows)
    return len(found)


async def forget_servers(connection: Connection, age: Micros, limit: int) -> int:
    """Delete servers that were not heard for `age`, unless an active session names them."""
    return len(await connection.read(FORGET_SERVERS, [(age, limit)]))


async def delete_ended(connection: Connection, age: Micros, limit: int) -> int:
    """Delete tasks that ended `age` ago with all that belongs to them."""
    found = await connection.read(ENDED_TASKS, [(age, limit)])
    task_ids: list[TaskId] = [one.task_id for one in found]
    await connection.write("delete_task", [(task_id,) for task_id in task_ids])
    await forget(connection, task_ids)
    await connection.shrink()
    return len(found)


async def delete_chunks(connection: Connection, age: Micros, limit: int) -> int:
    """Delete streams that were stored `age` ago."""
    found = await connection.read(DELETE_CHUNKS, [(age, limit)])
    await connection.shrink()
    return len(found)


async def delete_keys(connection: Connection, age: Micros, limit: int) -> int:
    """Delete idempotency keys that are `age` old."""
    return len(await connection.read(DELETE_KEYS, [(age, limit)]))
