"""Claims about a store that another release has left: an older one is taken up with all that is in it, a newer one refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from inferpool.core.errors import StoreUnavailable
from inferpool.core.lifecycle import Status
from inferpool.store.invariants import check
from inferpool.store.migrate import load_migrations, migrate
from inferpool.store.opening import looking_into, open_store
from inferpool.store.sqlite_connection import connect
from tests.store.builders import new_task
from tests.store.stores import SettableClock, opened_sqlite

pytestmark = pytest.mark.anyio


async def left_by(path: Path, migrations: int) -> None:
    """A store of the release that knew so many migrations."""
    with closing(connect(path, SettableClock())) as connection:
        await migrate(connection, load_migrations("sqlite")[:migrations], "0.1.0")


def schema(path: Path) -> set[str]:
    """How everything in the file was made."""
    with closing(sqlite3.connect(path)) as file:
        return {made for (made,) in file.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}


@pytest.mark.parametrize("migrations", range(1, len(load_migrations("sqlite"))))
async def test_a_store_of_an_older_release_is_brought_up_with_what_is_in_it(tmp_path: Path, migrations: int) -> None:
    path, task = tmp_path / "store.db", new_task()
    await left_by(path, migrations)
    async with opened_sqlite(tmp_path / "new.db") as pair:
        await pair.store.enqueue(task, None)
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("ATTACH ? AS new", (str(tmp_path / "new.db"),))
        columns = ", ".join(name for _, name, *_ in old.execute("PRAGMA main.table_info(tasks)"))
        old.execute(f"INSERT INTO main.tasks ({columns}) SELECT {columns} FROM new.tasks")
    async with opened_sqlite(path) as pair:
        row = await pair.reader.row(task.id)
        assert row is not None
        assert row.status is Status.PENDING
        assert not await pair.reader.any_token()
    assert schema(path) == schema(tmp_path / "new.db")
    with closing(sqlite3.connect(path)) as now:
        assert now.execute("SELECT count(*) FROM migrations").fetchone() == (len(load_migrations("sqlite")),)


async def test_a_store_that_waits_for_its_upgrade_can_be_checked(tmp_path: Path) -> None:
    await left_by(tmp_path / "store.db", 1)
    with looking_into(tmp_path / "store.db", SettableClock()) as connection:
        assert await check(connection) == []


async def test_a_store_of_a_newer_release_is_refused_by_its_name_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await left_by(path, len(load_migrations("sqlite")))
    with closing(sqlite3.connect(path)) as newer, newer:
        newer.execute("INSERT INTO migrations SELECT 99, 'agents', '9.0.0', applied_at FROM migrations LIMIT 1")
        newer.execute("ALTER TABLE tasks RENAME TO errands")
        before = list(newer.iterdump())
    with pytest.raises(StoreUnavailable, match=r"store\.db: .* for inferpool 9\.0\.0 or newer; this is .*: upgrade"):
        await open_store(path, SettableClock(), "a server")
    with closing(sqlite3.connect(path)) as newer:
        assert list(newer.iterdump()) == before
