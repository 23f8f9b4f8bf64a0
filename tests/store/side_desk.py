"""What tests do to a PostgreSQL database behind a store's back, from plain functions: an event loop of their own runs it."""

import asyncio
import atexit
import os
import re
import secrets
import threading
from collections.abc import Coroutine, Sequence
from functools import cache
from itertools import count
from typing import TypeVar

import asyncpg

from inferpool.store.postgres import open_postgres
from tests.store.builders import Value
from tests.store.stores import START
from tests.store.throwaway import GIVEN, NEWEST, server

T = TypeVar("T")

PATIENCE_S = 60.0
RUN = secrets.token_hex(4)
"""Names the databases of this process."""

_LAWLESS = """
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0 AND connamespace = 'public'::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.owner, found.conname);
    END LOOP;
END
$$
"""


class SideDesk:
    """One connection to a database that stays open from test to test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = _run(asyncpg.connect(url, command_timeout=PATIENCE_S))

    def script(self, text: str) -> None:
        """Run statements that take nothing, give nothing."""
        _run(self._connection.execute(text))

    def sql(self, statement: str, *values: Value) -> list[tuple[Value, ...]]:
        """Run one statement, its parameters written as in SQLite."""
        return [tuple(record) for record in _run(self._connection.fetch(_numbered(statement), *values))]


def _numbered(statement: str) -> str:
    places = count(1)
    return re.sub(r"\?", lambda _: f"${next(places)}", statement)


def emptied_desk(version: int = NEWEST, *, lawless: bool = False, own: bool = False) -> SideDesk:
    """This process's own migrated database, its clock standing still, without a row; `own`: on its own server too."""
    desk = _desk_with_clock(version, lawless, own)
    empty(desk)
    return desk


@cache
def _desk_with_clock(version: int, lawless: bool, own: bool) -> SideDesk:
    kind = ("lawless" if lawless else "lawful") + ("_own" if own else "")
    desk = new_desk(kind, version, own=own)
    desk.script(
        f"""
        CREATE TABLE test_clock (now bigint NOT NULL);
        INSERT INTO test_clock VALUES ({START});
        CREATE OR REPLACE FUNCTION now_us() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT now FROM test_clock';
        """
    )
    if lawless:
        desk.script(_LAWLESS)
    return desk


def empty(desk: SideDesk) -> None:
    """Send away whoever an earlier test left, delete all rows, set the clock back."""
    desk.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    desk.script(
        f"""
        DELETE FROM tasks; DELETE FROM attempts; DELETE FROM chunks; DELETE FROM idempotency_keys; DELETE FROM lanes;
        DELETE FROM servers; DELETE FROM writers; DELETE FROM sessions; DELETE FROM llms; DELETE FROM tokens;
        DELETE FROM audit; UPDATE test_clock SET now = {START};
        """
    )


def new_desk(kind: str, version: int = NEWEST, *, own: bool = False) -> SideDesk:
    """A database of this process's own, migrated."""
    url = new_database(kind, version, own=own)
    _run(_migrated(url))
    return SideDesk(url)


def new_database(kind: str, version: int = NEWEST, *, own: bool = True) -> str:
    """An empty database on this process's own server, or on the one that is given; its URL."""
    name = f"inferpool_test_{RUN}_{version}_{kind}"
    given = None if own or version != NEWEST else os.environ.get(GIVEN)
    admin = given or server(version).url()
    ask(admin, f"CREATE DATABASE {name} TEMPLATE template0")
    if given is None:
        return server(version).url(name)
    atexit.register(ask, admin, f"DROP DATABASE {name} WITH (FORCE)")
    return _renamed(given, name)


def _renamed(url: str, database: str) -> str:
    head, _, tail = url.partition("://")
    place, _, rest = tail.partition("/")
    _, question, parameters = rest.partition("?")
    return f"{head}://{place}/{database}{question}{parameters}"


def ask(url: str, statement: str, *values: Value) -> list[tuple[Value, ...]]:
    """Run one statement on a connection for it alone, its parameters written as in SQLite."""
    return _run(_asked(url, _numbered(statement), values))


async def _asked(url: str, statement: str, values: Sequence[Value]) -> list[tuple[Value, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(record) for record in await connection.fetch(statement, *values)]
    finally:
        await connection.close()


async def _migrated(url: str) -> None:
    await (await open_postgres(url, writer_id="migrates")).close()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="side desk", daemon=True).start()
    return loop


def _run(work: Coroutine[None, None, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result(PATIENCE_S)
