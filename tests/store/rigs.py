"""The stores that the conformance suite knows, each opened with what only its tests may do to it."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import TypeAlias

import asyncpg

from inferpool.core.clock import Micros
from inferpool.core.ids import TaskId
from inferpool.store.postgres import PostgresOptions, connect_postgres_reader, open_postgres
from inferpool.store.protocol import Store, StoreReader
from inferpool.store.runners import Runner, ThreadRunner
from inferpool.store.sqlite_connection import connect_reader
from tests.store.builders import Doctor, Rig, Value, new_id
from tests.store.side_desk import SideDesk, emptied_desk
from tests.store.stores import SettableClock, opened_sqlite
from tests.store.throwaway import NEWEST, OLDEST


class SqliteRig:
    """An SQLite store under a clock that stands still until a test moves it."""

    refusal: type[Exception] = sqlite3.IntegrityError

    def __init__(self, store: Store, reader: StoreReader, clock: SettableClock, path: Path) -> None:
        self.store = store
        self.reader = reader
        self._clock = clock
        self._path = path

    def now(self) -> Micros:
        """What the database's clock says."""
        return self._clock.now_us()

    def later(self, duration: Micros) -> None:
        """Let the database's clock go on by that long."""
        self._clock.advance(duration)

    async def flushed(self) -> None:
        """Ask for a commit that changes nothing itself."""
        await self.store.cancel(TaskId("nobody"))

    def doctor(self) -> Doctor:
        """The connection of someone who only looks, beside the server."""
        return connect_reader(self._path, self._clock)

    def tamper(self, statement: str, *values: Value) -> int:
        """Change the file behind the server's back, its constraints asleep; gives how many rows."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            return connection.execute(statement, values).rowcount

    def sql(self, statement: str, *values: Value) -> list[tuple[Value, ...]]:
        """Run one statement on a connection of its own."""
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            return connection.execute(statement, values).fetchall()


@asynccontextmanager
async def sqlite_rig(folder: Path) -> AsyncIterator[Rig]:
    """An empty SQLite store in that folder, its work done inline."""
    clock = SettableClock()
    path = folder / "store.db"
    async with opened_sqlite(path, clock) as pair:
        yield SqliteRig(pair.store, pair.reader, clock, path)


@asynccontextmanager
async def threaded_sqlite_rig(folder: Path) -> AsyncIterator[Rig]:
    """An empty SQLite store in that folder, its work done on threads as a server has it."""
    clock = SettableClock()
    path = folder / "store.db"
    readers: list[Runner] = [ThreadRunner("reader 1"), ThreadRunner("reader 2")]
    async with opened_sqlite(path, clock, ThreadRunner("writer"), readers) as pair:
        yield SqliteRig(pair.store, pair.reader, clock, path)


class PostgresRig:
    """A PostgreSQL store, its clock a row of a table."""

    refusal: type[Exception] = asyncpg.IntegrityConstraintViolationError

    def __init__(self, store: Store, reader: StoreReader, desk: SideDesk) -> None:
        self.store = store
        self.reader = reader
        self._desk = desk

    def now(self) -> Micros:
        """What the database's clock says."""
        [[now]] = self._desk.sql("SELECT now FROM test_clock")
        assert isinstance(now, int)
        return now

    def later(self, duration: Micros) -> None:
        """Let the database's clock go on by that long."""
        self._desk.script(f"UPDATE test_clock SET now = now + {duration}")

    async def flushed(self) -> None:
        """Ask for a commit that changes nothing itself."""
        await self.store.cancel(TaskId("nobody"))

    def doctor(self) -> Doctor:
        """The connection of someone who only looks, beside the servers."""
        return connect_postgres_reader(self._desk.url)

    def tamper(self, statement: str, *values: Value) -> int:
        """Change the database behind the server's back; for one that has lost its constraints."""
        return len(self._desk.sql(f"{statement} RETURNING 1", *values))

    def sql(self, statement: str, *values: Value) -> list[tuple[Value, ...]]:
        """Run one statement on a connection of its own."""
        return self._desk.sql(statement, *values)


@asynccontextmanager
async def postgres_rig(_: Path, version: int = NEWEST, *, lawless: bool = False) -> AsyncIterator[Rig]:
    """An emptied PostgreSQL store, without its constraints if it is to be lawless."""
    desk = emptied_desk(version, lawless=lawless)
    pair = await open_postgres(desk.url, writer_id=new_id(), options=PostgresOptions(readers=1))
    try:
        yield PostgresRig(pair.store, pair.reader, desk)
    finally:
        await pair.close()


@asynccontextmanager
async def lawless_postgres_rig(folder: Path) -> AsyncIterator[Rig]:
    """An emptied PostgreSQL store that takes every row."""
    async with postgres_rig(folder, lawless=True) as rig:
        yield rig


@asynccontextmanager
async def older_postgres_rig(folder: Path) -> AsyncIterator[Rig]:
    """An emptied store on the oldest PostgreSQL that the development wheel holds."""
    async with postgres_rig(folder, OLDEST) as rig:
        yield rig


OpensRig: TypeAlias = Callable[[Path], AbstractAsyncContextManager[Rig]]

RIGS: Mapping[str, OpensRig] = {"sqlite": sqlite_rig, "postgres": postgres_rig}
"""Every claim of the suite is made of each of these."""

OLD: Mapping[str, OpensRig] = {"postgres, older": older_postgres_rig}
"""So are those that say each verb at least once (all but the table of states by verbs)."""

TAMPERED: Mapping[str, OpensRig] = {"sqlite": sqlite_rig, "postgres": lawless_postgres_rig}
"""These let a test write what the law forbids."""

RACING: Mapping[str, OpensRig] = {**RIGS, "sqlite on threads": threaded_sqlite_rig}
"""The claims about races are made of these."""
