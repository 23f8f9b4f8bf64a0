"""Claims about what an operator is told of a store: its schema, its size, how much is in it."""

from collections.abc import AsyncIterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from inferpool.core.errors import StoreUnavailable
from inferpool.store.migrate import load_migrations, migrate
from inferpool.store.opening import looking_into
from inferpool.store.postgres_connection import PostgresConnection
from inferpool.store.postgres_driver import Address, Timeouts
from inferpool.store.postgres_link import Link
from inferpool.store.rows import APPLIED_MIGRATIONS
from inferpool.store.sqlite_connection import connect
from inferpool.store.statements import load_statements
from inferpool.store.status import BOUND, Amount, look
from tests.store.builders import Doctor, Rig, enqueue
from tests.store.filled import filled_store, rows_of
from tests.store.rigs import RIGS
from tests.store.side_desk import new_database
from tests.store.stores import SettableClock

pytestmark = pytest.mark.anyio
_NUMBERS = count(1)
KNOWN = len(load_migrations("sqlite"))


@pytest.fixture(params=RIGS)
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """An open store of each kind."""
    async with RIGS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Doctor, str]]:
    """A connection to an empty database of each kind, with the kind."""
    if request.param == "sqlite":
        opened: Doctor = connect(tmp_path / "store.db", SettableClock())
    else:
        url = new_database(f"status_{next(_NUMBERS)}", own=False)
        opened = PostgresConnection(Link(Address(url, Timeouts())))
    with closing(opened):
        yield opened, request.param


def dialect_of(connection: Doctor) -> str:
    return "postgres" if isinstance(connection, PostgresConnection) else "sqlite"


async def test_a_store_is_told_beside_its_server(rig: Rig) -> None:
    await enqueue(rig, 7)
    with closing(rig.doctor()) as connection:
        told = await look(connection, dialect_of(connection), "0.1.0", bound=5)
        whole = await look(connection, dialect_of(connection), "0.1.0")
    assert told.engine.split()[0] in {"SQLite", "PostgreSQL"}
    assert (told.runs, told.oldest_release) == (True, "0.1.0")
    assert told.size > 8192
    assert [step.number for step in told.steps if step.known and step.applied_at] == list(range(1, KNOWN + 1))
    assert told.amounts[0] == Amount("pending", 5, exact=False)
    assert whole.amounts[0] == Amount("pending", 7, exact=True)
    assert {one.size for one in whole.amounts[1:]} == {0}


async def test_every_kind_is_counted(tmp_path: Path) -> None:
    path = await filled_store(tmp_path)
    with looking_into(path, SettableClock()) as connection:
        told = {one.name: one.size for one in (await look(connection, "sqlite", "0.1.0")).amounts}
    [(ended,)] = rows_of(path, "SELECT count(*) FROM tasks WHERE status IN ('completed', 'error', 'cancelled')")
    assert min(told.values()) > 0
    assert (told["ended"], told["tokens"], told["backing off"]) == (ended, 1, 1)


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_nothing_is_counted_without_a_bound(dialect: str) -> None:
    counted = [line for line in load_statements(dialect)["some_counts"].splitlines() if line != "UNION ALL"]
    assert all("LIMIT" in line for line in counted)
    assert len(counted) * (BOUND + 1) < 10_000


async def test_what_waits_for_its_migration_is_told(empty: tuple[Doctor, str]) -> None:
    connection, dialect = empty
    await migrate(connection, load_migrations(dialect)[:1], "0.1.0")
    told = await look(connection, dialect, "0.1.0")
    assert [(step.number, step.applied_at is None) for step in told.steps] == [
        (number, number > 1) for number in range(1, KNOWN + 1)
    ]
    assert (told.runs, told.amounts) == (True, [])


async def test_a_store_of_a_newer_release_is_told_as_such(empty: tuple[Doctor, str]) -> None:
    connection, dialect = empty
    await migrate(connection, load_migrations(dialect), "0.1.0")
    await connection.write("record_migration", [(99, "agents", "9.0.0")])
    told = await look(connection, dialect, "0.1.0")
    assert (told.runs, told.oldest_release, told.amounts) == (False, "9.0.0", [])
    assert (told.steps[-1].name, told.steps[-1].known) == ("agents", False)
    assert len(await connection.read(APPLIED_MIGRATIONS, [()])) == KNOWN + 1


async def test_what_is_no_store_is_told_with_what_makes_one(empty: tuple[Doctor, str]) -> None:
    connection, dialect = empty
    with pytest.raises(
        StoreUnavailable, match=r"no inferpool store .*`inferpool database migrate` makes one of an empty"
    ):
        await look(connection, dialect, "0.1.0")
