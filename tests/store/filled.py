"""An SQLite store at rest with rows in each of its tables, a task in every state."""

import sqlite3
from contextlib import closing
from pathlib import Path

from inferpool.core.access import AuditEntry, Limits, NewToken, Role
from inferpool.core.ids import TokenId
from inferpool.core.task import Answer
from tests.store.acts import STANDS, stage
from tests.store.builders import Rig, Value, complete, new_id, new_task, registered
from tests.store.rigs import sqlite_rig
from tests.store.stores import START

ODD_BYTES = bytes(range(256)) * 8


async def filled_store(folder: Path) -> Path:
    """The file; nobody holds it."""
    async with sqlite_rig(folder) as rig:
        for stand in STANDS:
            await stage(rig, stand)
        await _fill(rig)
    return folder / "store.db"


async def _fill(rig: Rig) -> None:
    worker = await registered(rig, "desk")
    task = new_task(key="Once, “twice”", request=ODD_BYTES, metadata={"a\0b": "\N{WATER WAVE}"})
    await rig.store.enqueue(task, worker.slot())
    answer = Answer(200, "text/plain", ODD_BYTES)
    await rig.store.complete(complete(worker.says(task.id), chunks=ODD_BYTES, answer=answer))
    await rig.store.write_clocks([("pool:qwen", 0.1), ("llm:a", 1e300)])
    token = NewToken(
        id=TokenId(new_id()), subject="ann", role=Role.CALLER, limits=Limits(frozenset("ab")), hash="0" * 64
    )
    await rig.store.create_token(token)
    entry = AuditEntry(
        id=new_id(), at=START, subject="ann", token_id=None, action="a", resource="b", address="c", outcome="done"
    )
    await rig.store.write_audit([entry])


def rows_of(path: Path, statement: str, *values: Value) -> list[tuple[Value, ...]]:
    """What a statement gives, or does, in a file that no server has open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()
