"""The embedded store: one SQLite file that one server writes."""

import contextlib
import os
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from inferpool.core.clock import SECOND, Clock, Micros
from inferpool.core.errors import StoreUnavailable
from inferpool.host.locks import PLAIN, FileHeld, HeldFile
from inferpool.store.connection import Connection
from inferpool.store.migrate import load_migrations, migrate
from inferpool.store.reader import Desk, SqlReader
from inferpool.store.runners import Runner
from inferpool.store.servers_protocol import Signals
from inferpool.store.sql import SqlStore
from inferpool.store.sqlite_connection import SqliteConnection, connect, connect_reader
from inferpool.store.writer import Writer

_DIALECT: Final = "sqlite"
_PRIVATE: Final = 0o600


class SqliteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a store may be told beside its file."""

    release: str = version("inferpool")
    """The running code's release: migrations may ask for a newer one."""
    dead_after: Micros = 6 * SECOND
    """A server without a heartbeat for so long is dead (spec section 4)."""
    alone: bool = True
    """False in a simulation alone, whose servers take turns on one thread: no lock, other servers' rows stay."""


class SqliteReaders:
    """An open file that is only read, with the connections and threads that do it."""

    def __init__(self, path: Path, clock: Clock, runners: Sequence[Runner], dead_after: Micros) -> None:
        self._runners = runners
        self._connections = [connect_reader(path, clock) for _ in runners]
        desks = [Desk(*pair) for pair in zip(self._connections, runners, strict=True)]
        self.reader = SqlReader(desks, dead_after)

    async def close(self) -> None:
        """Finish the reads that are under way, close the connections."""
        for runner in self._runners:
            await runner.close()
        self.let_go()

    def let_go(self) -> None:
        """Close the connections at once."""
        for connection in self._connections:
            connection.close()


class SqlitePair:
    """An open store with its reader."""

    def __init__(
        self,
        writing: tuple[SqliteConnection, Runner],
        writer: Writer,
        readers: SqliteReaders,
        lock: "FileLock | None",
        options: SqliteOptions,
    ) -> None:
        self._connection, self._runner = writing
        self._writer = writer
        self._readers = readers
        self._lock = lock
        self.store = SqlStore(writer, options.dead_after)
        self.reader = readers.reader
        self.signals: Signals | None = None
        """A server on a file is alone."""

    async def close(self) -> None:
        """Flush what waits, close the file, give its lock back."""
        await self._writer.close()
        await self._runner.close()
        await self._readers.close()
        self._let_go()

    def abandon(self) -> None:
        """Drop what is not committed, as a crash would; for runners that are inline."""
        self._writer.abandon()
        self._readers.let_go()
        self._let_go()

    def _let_go(self) -> None:
        self._connection.close()
        if self._lock is not None:
            self._lock.release()


class FileLock:
    """The lock file beside a database: whoever holds it is the only server on it."""

    def __init__(self, path: Path) -> None:
        """Raises `StoreUnavailable` when another process holds it."""
        try:
            self._file = HeldFile(path.with_name(path.name + ".lock"), _PRIVATE)
        except FileHeld as fault:
            raise StoreUnavailable(
                f"another inferpool server is using {path}{fault.by}: stop it first, or use another database"
            ) from fault

    def release(self) -> None:
        """Let the next server in. The file stays: removing it could lock two servers in."""
        self._file.release()


async def open_sqlite(
    path: Path,
    *,
    clock: Clock,
    runner: Runner,
    readers: Sequence[Runner],
    options: SqliteOptions | None = None,
) -> SqlitePair:
    """Open the file for writing, made and migrated as needed; its connections run where the runners say.

    Raises `StoreUnavailable` when another server uses it, a newer release has claimed it, or it cannot be opened.
    """
    chosen = options or SqliteOptions()
    with contextlib.ExitStack() as undo:
        lock = _lock(path) if chosen.alone else None
        if lock is not None:
            undo.callback(lock.release)
        connection = connect(path, clock)
        undo.callback(connection.close)
        await runner.run(partial(_prepare, connection, chosen))
        looking = SqliteReaders(path, clock, readers, chosen.dead_after)
        undo.pop_all()
    return SqlitePair((connection, runner), Writer(connection, runner), looking, lock, chosen)


def _lock(path: Path) -> FileLock:
    """Take the lock; then make the file, for nobody else to read, unless it is there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | PLAIN, _PRIVATE))
    except OSError as fault:
        raise StoreUnavailable(f"{path} cannot be opened: {fault.strerror}") from fault
    return lock


async def _prepare(connection: Connection, options: SqliteOptions) -> None:
    await migrate(connection, load_migrations(_DIALECT), options.release)
    if options.alone:
        await connection.begin()
        await connection.write("forget_other_servers", [()])
        await connection.commit()
