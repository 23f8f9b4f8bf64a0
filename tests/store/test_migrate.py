"""Migrations: what is applied, what is recorded, which release is refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inferpool.core.errors import StoreUnavailable
from inferpool.store.migrate import Migration, check_store, load_migrations, migrate, read_migration
from inferpool.store.rows import APPLIED_MIGRATIONS
from inferpool.store.sqlite_connection import SqliteConnection, connect
from tests.store.stores import START, SettableClock

pytestmark = pytest.mark.anyio

FIRST = Migration(1, "pools", "0.1.0", "CREATE TABLE pools (name TEXT);\nINSERT INTO pools VALUES ('a;b');\n")
SECOND = Migration(2, "tiers", "0.2.0", "CREATE TABLE tiers (name TEXT);")
BROKEN = Migration(2, "broken", "0.1.0", "CREATE TABLE tiers (name TEXT);\nCREATE TABLE pools (name TEXT);")


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[SqliteConnection]:
    opened = connect(tmp_path / "store.db", SettableClock())
    yield opened
    opened.close()


def tables(connection: SqliteConnection) -> set[str]:
    found = connection._driver.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return {name for (name,) in found}


async def test_an_empty_database_gets_every_migration_in_order(connection: SqliteConnection) -> None:
    await migrate(connection, [FIRST, SECOND], "0.2.0")
    applied = await connection.read(APPLIED_MIGRATIONS, [()])
    assert [(one.number, one.name, one.oldest_release) for one in applied] == [
        (1, "pools", "0.1.0"),
        (2, "tiers", "0.2.0"),
    ]
    assert {one.applied_at for one in applied} == {START}
    assert {"pools", "tiers"} <= tables(connection)


async def test_an_applied_migration_is_not_applied_again(connection: SqliteConnection) -> None:
    await migrate(connection, [FIRST], "0.1.0")
    await migrate(connection, [FIRST], "0.1.0")
    assert len(await connection.read(APPLIED_MIGRATIONS, [()])) == 1


async def test_only_what_is_missing_is_applied(connection: SqliteConnection) -> None:
    await migrate(connection, [FIRST], "0.1.0")
    await migrate(connection, [FIRST, SECOND], "0.2.0")
    assert "tiers" in tables(connection)


async def test_a_migration_that_fails_leaves_nothing_of_any(connection: SqliteConnection) -> None:
    with pytest.raises(StoreUnavailable, match="pools"):
        await migrate(connection, [FIRST, BROKEN], "0.1.0")
    assert tables(connection) == set()


async def test_a_release_older_than_a_migration_allows_is_refused(connection: SqliteConnection) -> None:
    await migrate(connection, [FIRST, SECOND], "0.10.0")
    with pytest.raises(
        StoreUnavailable, match=r"migrated for inferpool 0\.2\.0 or newer; this is 0\.1\.9: upgrade inferpool"
    ):
        await migrate(connection, [FIRST], "0.1.9")


async def test_a_newer_schema_that_allows_this_release_is_accepted(connection: SqliteConnection) -> None:
    newer = Migration(2, "tiers", "0.1.0", SECOND.script)
    await migrate(connection, [FIRST, newer], "0.2.0")
    await migrate(connection, [FIRST], "0.1.0")
    assert len(await connection.read(APPLIED_MIGRATIONS, [()])) == 2


async def test_releases_compare_by_number_not_by_letter(connection: SqliteConnection) -> None:
    await migrate(connection, [Migration(1, "pools", "0.9.0", FIRST.script)], "0.10.0")
    await migrate(connection, [], "0.10.0")


async def test_a_pre_release_counts_as_its_release(connection: SqliteConnection) -> None:
    await migrate(connection, [FIRST, SECOND], "0.2.0rc1")
    await check_store(connection, "0.2.0.dev3")
    with pytest.raises(StoreUnavailable, match="upgrade inferpool"):
        await check_store(connection, "0.1.9")


async def test_a_database_of_somebody_else_is_no_store(connection: SqliteConnection) -> None:
    with pytest.raises(StoreUnavailable, match="this is no inferpool store"):
        await check_store(connection, "0.1.0")


def test_a_migration_says_its_oldest_release_in_its_first_line() -> None:
    found = read_migration("0012_more_lanes.sql", "-- oldest release: 1.2.3\nSELECT 1;")
    assert (found.number, found.name, found.oldest_release) == (12, "more_lanes", "1.2.3")


def test_a_migration_without_its_oldest_release_is_refused() -> None:
    with pytest.raises(ValueError, match="0012_more_lanes"):
        read_migration("0012_more_lanes.sql", "SELECT 1;")


def test_the_migrations_of_the_package_are_numbered_without_a_gap() -> None:
    numbers = [migration.number for migration in load_migrations("sqlite")]
    assert numbers == list(range(1, len(numbers) + 1))
