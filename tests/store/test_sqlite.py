"""The file: who may open it, what it is set to, what a reader sees."""

import asyncio
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from inferpool.core.clock import HOUR
from inferpool.core.errors import StoreUnavailable
from inferpool.store.migrate import check_store, load_migrations, migrate
from inferpool.store.opening import looking_into
from inferpool.store.runners import InlineRunner, ThreadRunner
from inferpool.store.sqlite import SqliteOptions, open_sqlite
from inferpool.store.sqlite_connection import connect
from tests.store.builders import SERVER, new_task
from tests.store.stores import SettableClock, opened_sqlite

pytestmark = pytest.mark.anyio


def pragma(path: Path, name: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


async def look(path: Path, release: str = "9.0.0") -> None:
    """Look whether it is a store for this release, changing nothing."""
    with looking_into(path, SettableClock()) as connection:
        await check_store(connection, release)


async def test_a_second_server_is_told_that_the_file_is_in_use(tmp_path: Path) -> None:
    async with opened_sqlite(tmp_path / "store.db"):
        with pytest.raises(StoreUnavailable, match="another inferpool server"):
            async with opened_sqlite(tmp_path / "store.db"):
                pass


async def test_a_disk_that_is_full_at_the_start_is_told_with_its_remedy(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "store.db", SettableClock())) as connection:
        connection._driver.execute("PRAGMA max_page_count = 2")
        with pytest.raises(StoreUnavailable, match="full; make room on its disk"):
            await migrate(connection, load_migrations("sqlite"), "0.1.0")


async def test_a_closed_file_can_be_opened_again(tmp_path: Path) -> None:
    async with opened_sqlite(tmp_path / "store.db") as pair:
        await pair.store.enqueue(task := new_task(), None)
    async with opened_sqlite(tmp_path / "store.db") as pair:
        assert (await pair.reader.row(task.id)) is not None


async def test_nobody_else_can_read_the_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with opened_sqlite(tmp_path / "data" / "store.db") as pair:
            await pair.store.enqueue(new_task(), None)
            files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    finally:
        os.umask(before)
    assert files == dict.fromkeys(("store.db", "store.db-shm", "store.db-wal", "store.db.lock"), 0o600)


async def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        async with opened_sqlite(tmp_path / "file" / "store.db"):
            pass


async def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(StoreUnavailable, match="damaged"):
        async with opened_sqlite(tmp_path / "store.db"):
            pass
    with pytest.raises(StoreUnavailable, match="damaged"):
        await look(tmp_path / "store.db")


async def test_a_newer_schema_is_refused_and_the_lock_given_back(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for _ in range(2):
        async with opened_sqlite(path):
            pass
        with pytest.raises(StoreUnavailable, match=r"this is 0\.0\.1"):
            await open_sqlite(
                path,
                clock=SettableClock(),
                runner=InlineRunner(),
                readers=[InlineRunner()],
                options=SqliteOptions(release="0.0.1"),
            )


async def test_the_log_is_written_ahead_and_synced(tmp_path: Path) -> None:
    async with opened_sqlite(tmp_path / "store.db") as pair:
        settings = dict.fromkeys(("journal_mode", "synchronous", "auto_vacuum", "page_size"))
        for name in settings:
            settings[name] = pair._connection._driver.execute(f"PRAGMA {name}").fetchone()[0]
    assert settings == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2, "page_size": 8192}


async def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    async with opened_sqlite(tmp_path / "store.db") as pair:
        with pytest.raises(StoreUnavailable, match="readonly"):
            await pair._readers._connections[0].write("forget_other_servers", [()])


async def test_a_store_is_read_beside_a_running_server_as_without_one(tmp_path: Path) -> None:
    async with opened_sqlite(tmp_path / "store.db"):
        await look(tmp_path / "store.db")
    await look(tmp_path / "store.db")


async def test_a_store_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await look(tmp_path / "store.db")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_no_store_is_said(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE notes (text TEXT)")
    with pytest.raises(StoreUnavailable, match="no such table"):
        await look(tmp_path / "other.db")


async def test_a_reader_for_an_older_release_is_refused(tmp_path: Path) -> None:
    async with opened_sqlite(tmp_path / "store.db"):
        pass
    with pytest.raises(StoreUnavailable, match="upgrade"):
        await look(tmp_path / "store.db", "0.0.1")


async def test_reads_go_to_the_connection_with_the_least_to_do(tmp_path: Path) -> None:
    readers = [ThreadRunner(f"reader {number}") for number in range(2)]
    runner = ThreadRunner("writer")
    async with opened_sqlite(tmp_path / "store.db", runner=runner, readers=list(readers)) as pair:
        tasks = [new_task() for _ in range(20)]
        await asyncio.gather(*(pair.store.enqueue(task, None) for task in tasks))
        found = await asyncio.gather(*(pair.reader.row(task.id) for task in tasks))
        assert [row.id for row in found if row is not None] == [task.id for task in tasks]
        assert [desk.busy for desk in pair.reader._desks] == [0, 0]


async def test_the_file_shrinks_after_a_sweep(tmp_path: Path) -> None:
    clock = SettableClock()
    path = tmp_path / "store.db"
    async with opened_sqlite(path, clock) as pair:
        tasks = [new_task(request=bytes(50_000)) for _ in range(20)]
        await asyncio.gather(*(pair.store.enqueue(task, None) for task in tasks))
        await asyncio.gather(*(pair.store.cancel(task.id) for task in tasks))
        before = pragma(path, "page_count")
        clock.advance(HOUR)
        assert await pair.store.delete_ended(HOUR, 500) == 20
        after = pragma(path, "page_count")
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after < before / 2


async def test_a_starting_server_finds_every_other_one_dead(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened_sqlite(path) as pair:
        await pair.store.beat(SERVER, [])
    async with opened_sqlite(path) as pair:
        rows = pair._connection._driver.execute("SELECT count(*) FROM servers").fetchone()
    assert rows == (0,)


async def test_servers_that_take_turns_on_one_thread_may_share_a_file(tmp_path: Path) -> None:
    path, clock, options = tmp_path / "store.db", SettableClock(), SqliteOptions(alone=False)
    first = await open_sqlite(path, clock=clock, runner=InlineRunner(), readers=[InlineRunner()], options=options)
    await first.store.beat(SERVER, [])
    second = await open_sqlite(path, clock=clock, runner=InlineRunner(), readers=[InlineRunner()], options=options)
    assert await second.reader.servers() == [SERVER]
    second.abandon()
    await first.store.beat(SERVER, [])
    await first.close()
