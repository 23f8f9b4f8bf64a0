"""Migrations: what is applied, what is recorded, which release is refused."""

from collections.abc import AsyncIterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from inferpool.core.errors import StoreUnavailable
from inferpool.store.migrate import Migration, check_store, load_migrations, migrate, read_migration
from inferpool.store.postgres_connection import PostgresConnection
from inferpool.store.postgres_driver import Address, Timeouts
from inferpool.store.postgres_link import Link
from inferpool.store.rows import APPLIED_MIGRATIONS
from inferpool.store.sqlite_connection import connect
from tests.store.builders import Doctor
from tests.store.side_desk import new_database
from tests.store.stores import SettableClock

pytestmark = pytest.mark.anyio

FIRST = Migration(1, "pools", "0.1.0", "CREATE TABLE pools (name TEXT);\nINSERT INTO pools VALUES ('a;b');\n")
SECOND = Migration(2, "tiers", "0.2.0", "CREATE TABLE tiers (name TEXT);")
BROKEN = Migration(2, "broken", "0.1.0", "CREATE TABLE tiers (name TEXT);\nCREATE TABLE pools (name TEXT);")


@pytest.fixture(params=["sqlite", "postgres"])
async def connection(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Doctor]:
    """A connection to an empty database of each kind."""
    if request.param == "sqlite":
        opened: Doctor = connect(tmp_path / "store.db", SettableClock())
    else:
        opened = PostgresConnection(Link(Address(new_database(f"empty_{next(_NUMBERS)}", own=False), Timeouts())))
    with closing(opened):
        yield opened


_NUMBERS = count(1)


async def tables(connection: Doctor) -> set[str]:
    """Those of the three tables that there are."""
    return {name for name in ("migrations", "pools", "tiers") if await is_there(connection, name)}


async def is_there(connection: Doctor, table: str) -> bool:
    try:
        await connection.script(f"SELECT 1 FROM {table};")
    except StoreUnavailable:
        return False
    return True


async def test_an_empty_database_gets_every_migration_in_order(connection: Doctor) -> None:
    await migrate(connection, [FIRST, SECOND], "0.2.0")
    applied = await connection.read(APPLIED_MIGRATIONS, [()])
    assert [(one.number, one.name, one.oldest_release) for one in applied] == [
        (1, "pools", "0.1.0"),
        (2, "tiers", "0.2.0"),
    ]
    assert [one.applied_at for one in applied] == sorted(one.applied_at for one in applied)
    assert {"pools", "tiers"} <= await tables(connection)


async def test_an_applied_migration_is_not_applied_again(connection: Doctor) -> None:
    await migrate(connection, [FIRST], "0.1.0")
    await migrate(connection, [FIRST], "0.1.0")
    assert len(await connection.read(APPLIED_MIGRATIONS, [()])) == 1


async def test_only_what_is_missing_is_applied(connection: Doctor) -> None:
    await migrate(connection, [FIRST], "0.1.0")
    await migrate(connection, [FIRST, SECOND], "0.2.0")
    assert "tiers" in await tables(connection)


async def test_a_migration_that_fails_leaves_nothing_of_any(connection: Doctor) -> None:
    with pytest.raises(StoreUnavailable, match="pools"):
        await migrate(connection, [FIRST, BROKEN], "0.1.0")
    assert await tables(connection) == set()


async def test_a_release_older_than_a_migration_allows_is_refused(connection: Doctor) -> None:
    await migrate(connection, [FIRST, SECOND], "0.10.0")
    with pytest.raises(
        StoreUnavailable, match=r"migrated for inferpool 0\.2\.0 or newer; this is 0\.1\.9: upgrade inferpool"
    ):
        await migrate(connection, [FIRST], "0.1.9")


async def test_a_newer_schema_that_allows_this_release_is_accepted(connection: Doctor) -> None:
    newer = Migration(2, "tiers", "0.1.0", SECOND.script)
    await migrate(connection, [FIRST, newer], "0.2.0")
    await migrate(connection, [FIRST], "0.1.0")
    assert len(await connection.read(APPLIED_MIGRATIONS, [()])) == 2


async def test_releases_compare_by_number_not_by_letter(connection: Doctor) -> None:
    await migrate(connection, [Migration(1, "pools", "0.9.0", FIRST.script)], "0.10.0")
    await migrate(connection, [], "0.10.0")


async def test_a_pre_release_counts_as_its_release(connection: Doctor) -> None:
    await migrate(connection, [FIRST, SECOND], "0.2.0rc1")
    await check_store(connection, "0.2.0.dev3")
    with pytest.raises(StoreUnavailable, match="upgrade inferpool"):
        await check_store(connection, "0.1.9")


async def test_a_database_of_somebody_else_is_no_store(connection: Doctor) -> None:
    with pytest.raises(StoreUnavailable, match="this is no inferpool store"):
        await check_store(connection, "0.1.0")


def test_a_migration_says_its_oldest_release_in_its_first_line() -> None:
    found = read_migration("0012_more_lanes.sql", "-- oldest release: 1.2.3\nSELECT 1;")
    assert (found.number, found.name, found.oldest_release) == (12, "more_lanes", "1.2.3")


def test_a_migration_without_its_oldest_release_is_refused() -> None:
    with pytest.raises(ValueError, match="0012_more_lanes"):
        read_migration("0012_more_lanes.sql", "SELECT 1;")


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_the_migrations_of_the_package_are_numbered_without_a_gap(dialect: str) -> None:
    numbers = [migration.number for migration in load_migrations(dialect)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_both_kinds_of_databases_have_the_same_migrations() -> None:
    kinds = [[(step.number, step.name) for step in load_migrations(dialect)] for dialect in ("sqlite", "postgres")]
    assert kinds[0] == kinds[1]
