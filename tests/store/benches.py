"""A writer over a real file, taken apart so that its tests see the connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from inferpool.core.ids import BatchId, SessionId, TaskId
from inferpool.core.session import Registration
from inferpool.core.task import ClaimFor
from inferpool.store.migrate import load_migrations, migrate
from inferpool.store.protocol import Spoken
from inferpool.store.runners import InlineRunner, Runner
from inferpool.store.sql import SqlStore
from inferpool.store.sqlite_connection import SqliteConnection, connect
from inferpool.store.writer import Writer
from tests.store.builders import SERVER, new_id, offer
from tests.store.stores import SettableClock

SESSION = SessionId(new_id())


class Bench:
    """A writer over a real file, with the connection that it writes through."""

    def __init__(self, connection: SqliteConnection, writer: Writer) -> None:
        self.connection = connection
        self.writer = writer
        self.store = SqlStore(writer, 6_000_000)
        self.commits = 0
        connection._driver.set_trace_callback(self._trace)

    def _trace(self, statement: str) -> None:
        self.commits += statement == "COMMIT"

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """What a statement gives on the writer's own connection."""
        return self.connection._driver.execute(statement).fetchall()


@asynccontextmanager
async def bench(folder: Path, runner: Runner | None = None) -> AsyncIterator[Bench]:
    with closing(connect(folder / "store.db", SettableClock())) as connection:
        await migrate(connection, load_migrations("sqlite"), "0.1.0")
        writer = Writer(connection, runner or InlineRunner())
        yield Bench(connection, writer)
        await writer.close()


async def registered(store: SqlStore) -> ClaimFor:
    wish = Registration(
        session_id=SESSION,
        secret_hash="hash",
        epoch=1,
        server_id=SERVER,
        subject="local",
        worker_name="a",
        worker_version="0.1.0",
        labels={},
        llms=[offer("qwen@a")],
        holding=[],
        unwritten=[],
    )
    await store.register(wish)
    return ClaimFor(session_id=SESSION, epoch=1, server_id=SERVER, llm_name="qwen@a", batch=BatchId("b"))


def spoken(task_id: TaskId, attempt: int = 1) -> Spoken:
    return Spoken(task_id, attempt, SESSION)
