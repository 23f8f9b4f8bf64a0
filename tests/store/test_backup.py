"""Claims about the backup of an SQLite store: it is whole, private, made beside a running server, never over another file."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from inferpool.core.errors import Conflict, StoreUnavailable
from inferpool.core.ids import TaskId
from inferpool.store.backup import BackedUp, Order, back_up
from inferpool.store.invariants import Stage
from inferpool.store.migrate import load_migrations, migrate
from inferpool.store.sqlite_connection import connect
from tests.store.builders import enqueue, new_task
from tests.store.filled import filled_store, rows_of
from tests.store.rigs import SqliteRig
from tests.store.stores import SettableClock, opened_sqlite

pytestmark = pytest.mark.anyio

CLOCK = SettableClock()


def unwatched(stage: Stage) -> None:
    """Nobody looks."""


def backed_up(store: Path, file: Path, **changes: object) -> BackedUp:
    plain = Order(store=store, file=file, release="99.0.0", watch=unwatched)
    return back_up(msgspec.structs.replace(plain, **changes), CLOCK)


def everything(path: Path) -> list[str]:
    """What is in a file."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.fixture(scope="module")
async def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled store that nobody changes."""
    return await filled_store(tmp_path_factory.mktemp("template"))


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Path:
    """A store at rest."""
    (tmp_path / "here").mkdir()
    return Path(shutil.copy(template, tmp_path / "here" / "store.db"))


async def test_a_backup_holds_all_of_the_store_in_one_private_file(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    before = store.read_bytes()
    made = backed_up(store, file)
    [(tasks,)] = rows_of(store, "SELECT count(*) FROM tasks")
    assert made == BackedUp(file=str(file), size=file.stat().st_size, tasks=int(tasks or 0), breaches=0)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backup.db", "here"]
    assert everything(file) == everything(store)
    assert store.read_bytes() == before


async def test_a_backup_is_a_store_that_a_server_takes_up(store: Path, tmp_path: Path) -> None:
    backed_up(store, tmp_path / "backup.db")
    [(task_id,)] = rows_of(store, "SELECT id FROM tasks WHERE status = 'completed' LIMIT 1")
    async with opened_sqlite(tmp_path / "backup.db") as pair:
        assert await pair.reader.row(TaskId(str(task_id))) is not None
        await pair.store.enqueue(new_task(), None)


class Busy:
    """A server that commits at every step of the backup, a bounded number of times."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self.commits = 0
        self.stages: list[Stage] = []

    def __call__(self, stage: Stage) -> None:
        self.stages.append(stage)
        if self.commits < 1000:
            self.commits += 1
            self._connection.execute("INSERT INTO lanes VALUES (?, 1)", (f"made meanwhile {self.commits}",))

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def busy(store: Path) -> Iterator[Busy]:
    rows_of(store, "UPDATE tasks SET response = randomblob(10000000) WHERE status = 'completed'")
    with closing(Busy(store)) as server:
        yield server


async def test_a_server_that_writes_meanwhile_neither_waits_nor_is_waited_for(
    store: Path, tmp_path: Path, busy: Busy
) -> None:
    backed_up(store, tmp_path / "backup.db", watch=busy)
    assert rows_of(tmp_path / "backup.db", "SELECT count(*) FROM lanes WHERE lane LIKE 'made%'") == [(0,)]
    copying = [stage.share for stage in busy.stages if stage.looks_at == "copying pages"]
    assert copying == sorted(copying, key=lambda share: share or 0)
    assert 1 < len(copying) < 10
    assert rows_of(store, "SELECT count(*) FROM lanes WHERE lane LIKE 'made%'") == [(busy.commits,)]
    assert "checking tasks" in {stage.looks_at for stage in busy.stages}


async def test_what_is_in_the_log_alone_is_in_the_backup_the_log_stays(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened_sqlite(path) as pair:
        await enqueue(SqliteRig(pair.store, pair.reader, CLOCK, path), 20)
        before, log = path.read_bytes(), path.with_name("store.db-wal").read_bytes()
        assert backed_up(path, tmp_path / "backup.db").tasks == 20
        assert (path.read_bytes(), path.with_name("store.db-wal").read_bytes()) == (before, log)


async def test_a_file_that_is_there_is_replaced_on_demand_alone(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    file.write_text("something else")
    with pytest.raises(Conflict, match="is there already: name another file, or replace it by --force"):
        backed_up(store, file)
    assert file.read_text() == "something else"
    assert backed_up(store, file, replaces=True).tasks > 0
    assert everything(file) == everything(store)


async def test_the_store_itself_is_never_replaced(store: Path, tmp_path: Path) -> None:
    for file in (store, store.parent / ".." / "here" / "store.db"):
        with pytest.raises(Conflict, match="is the store itself"):
            backed_up(store, file, replaces=True)
    (tmp_path / "link.db").symlink_to(store)
    with pytest.raises(Conflict, match="is the store itself"):
        backed_up(store, tmp_path / "link.db", replaces=True)


async def test_a_store_that_a_server_runs_on_is_never_replaced(store: Path, tmp_path: Path) -> None:
    async with opened_sqlite(tmp_path / "other.db") as pair:
        await pair.store.enqueue(new_task(), None)
        with pytest.raises(Conflict, match="is a store with its log beside it"):
            backed_up(store, tmp_path / "other.db", replaces=True)
        (tmp_path / "other.db-wal").rename(tmp_path / "elsewhere")
        with pytest.raises(StoreUnavailable, match="another inferpool server is using"):
            backed_up(store, tmp_path / "other.db", replaces=True)
        (tmp_path / "elsewhere").rename(tmp_path / "other.db-wal")


async def test_a_store_that_no_server_runs_on_any_more_may_be_replaced(store: Path, tmp_path: Path) -> None:
    async with opened_sqlite(tmp_path / "other.db"):
        pass
    (tmp_path / "other.db-wal").touch()  # as whoever only looked leaves it
    backed_up(store, tmp_path / "other.db", replaces=True)
    async with opened_sqlite(tmp_path / "other.db"):
        pass
    assert everything(tmp_path / "other.db") == everything(store)


async def test_a_folder_is_no_file(store: Path, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="is a folder: name a file in it"):
        backed_up(store, tmp_path, replaces=True)
    with pytest.raises(FileNotFoundError, match=r"backup\.db"):
        backed_up(store, tmp_path / "nowhere" / "backup.db")


async def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="there is no store at"):
        backed_up(tmp_path / "store.db", tmp_path / "backup.db")
    assert list(tmp_path.iterdir()) == []


async def test_what_is_no_store_is_refused_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("These are notes, not a database. " * 100)
    with pytest.raises(StoreUnavailable, match=r"notes\.txt: the database is damaged: file is not a database"):
        backed_up(tmp_path / "notes.txt", tmp_path / "backup.db")
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]


async def test_a_store_of_an_older_release_is_backed_up_as_it_is(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "store.db", CLOCK)) as old:
        await migrate(old, load_migrations("sqlite")[:1], "0.1.0")
    backed_up(tmp_path / "store.db", tmp_path / "backup.db")
    assert everything(tmp_path / "backup.db") == everything(tmp_path / "store.db")


async def test_breaches_of_the_law_are_counted_the_backup_is_kept(store: Path, tmp_path: Path) -> None:
    rows_of(store, "UPDATE tasks SET size = size + 1")
    made = backed_up(store, tmp_path / "backup.db")
    assert made.breaches == made.tasks > 0


async def test_a_damaged_store_gives_no_backup(store: Path, tmp_path: Path) -> None:
    whole = bytearray(store.read_bytes())
    [(page,)] = rows_of(store, "SELECT rootpage FROM sqlite_schema WHERE name = 'tasks_of_owner'")
    assert isinstance(page, int)
    entry = whole.index(b"local", (page - 1) * 8192)
    whole[entry : entry + 5] = b"lokal"
    store.write_bytes(whole)
    with pytest.raises(
        StoreUnavailable, match=r"the backup is not sound, so it was not kept; is the store.*tasks_of_owner"
    ):
        backed_up(store, tmp_path / "backup.db")
    assert [one.name for one in tmp_path.iterdir()] == ["here"]


class Taking:
    """Somebody else takes the name of the backup while it is made."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, stage: Stage) -> None:
        self._file.write_text("mine")


async def test_a_name_that_is_taken_meanwhile_stays_whose_it_is(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    with pytest.raises(Conflict, match="is there already"):
        backed_up(store, file, watch=Taking(file))
    assert [file.read_text(), *sorted(one.name for one in tmp_path.iterdir())] == ["mine", "backup.db", "here"]


async def test_a_disk_without_second_names_gets_its_backup_too(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "hardlink_to", refuses)
    backed_up(store, tmp_path / "backup.db")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backup.db", "here"]


def refuses(path: Path, target: Path) -> None:
    """As FAT does."""
    raise PermissionError(1, os.strerror(1))


async def test_a_disk_without_room_is_told_before_anything_is_written(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferpool.store.backup.room_for", no_room)
    with pytest.raises(StoreUnavailable, match=r"a backup needs .* MB, .* has 0 MB: make room on its disk"):
        backed_up(store, tmp_path / "backup.db")
    assert [one.name for one in tmp_path.iterdir()] == ["here"]


def no_room(path: Path) -> int:
    return 0
