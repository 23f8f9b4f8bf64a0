"""Opens whichever database is named: a file is SQLite's, a URL is PostgreSQL's."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from inferpool.core.clock import Clock, Micros
from inferpool.core.errors import StoreUnavailable
from inferpool.store.connection import Connection
from inferpool.store.postgres import DEAD_AFTER, PostgresOptions, connect_postgres_reader, open_postgres
from inferpool.store.postgres_connection import PostgresConnection
from inferpool.store.postgres_driver import place_of
from inferpool.store.protocol import Store, StoreReader
from inferpool.store.runners import ThreadRunner
from inferpool.store.servers_protocol import Signals
from inferpool.store.sqlite import open_sqlite
from inferpool.store.sqlite_connection import SqliteConnection, connect_reader

READERS: Final = 2
"""Threads that read an SQLite file; its readers never wait for its writer."""


class Pair(Protocol):
    """An open store with its reader."""

    @property
    def store(self) -> Store: ...

    @property
    def reader(self) -> StoreReader: ...

    @property
    def signals(self) -> Signals | None:
        """Hints between the servers; None where there can be no other."""
        ...

    async def close(self) -> None: ...


async def open_store(where: Path | str, clock: Clock, writer_id: str, dead_after: Micros = DEAD_AFTER) -> Pair:
    """Open the database, migrated as needed; `clock` is an SQLite file's, `writer_id` is new at each start.

    `dead_after`: how old the heartbeat of another server grows until it counts as dead.

    Raises `StoreUnavailable`.
    """
    with naming(where):
        if isinstance(where, str):
            return await open_postgres(where, writer_id=writer_id, options=PostgresOptions(dead_after=dead_after))
        return await open_sqlite(
            where,
            clock=clock,
            runner=ThreadRunner("inferpool-writer"),
            readers=[ThreadRunner(f"inferpool-reader-{number}") for number in range(READERS)],
        )


@contextlib.contextmanager
def looking_into(where: Path | str, clock: Clock) -> Iterator[Connection]:
    """A connection that changes nothing, beside a running server or without one. Raises `StoreUnavailable`."""
    connection: SqliteConnection | PostgresConnection
    with naming(where):
        connection = connect_postgres_reader(where) if isinstance(where, str) else connect_reader(where, clock)
        with contextlib.closing(connection):
            yield connection


@contextlib.contextmanager
def naming(where: Path | str) -> Iterator[None]:
    """What stands against using a database names it."""
    try:
        yield
    except StoreUnavailable as fault:
        if place(where) in str(fault):
            raise
        raise StoreUnavailable(f"{place(where)}: {fault}") from fault


def place(where: Path | str) -> str:
    """Where the database is, for a person to read."""
    return place_of(where) if isinstance(where, str) else str(where)
