"""Claims about moving an SQLite store into PostgreSQL: all of it arrives, or nothing; what stands against it is told."""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

import msgspec
import pytest

from inferpool.core.errors import Conflict, InferpoolError, StoreUnavailable
from inferpool.core.ids import ServerId
from inferpool.store.copy import LEFT, Order, copy_store, move
from inferpool.store.invariants import Stage, check
from inferpool.store.migrate import load_migrations, migrate
from inferpool.store.opening import looking_into
from inferpool.store.postgres import open_postgres
from inferpool.store.postgres_connection import PostgresConnection
from inferpool.store.postgres_driver import Address, Timeouts
from inferpool.store.postgres_link import Link
from inferpool.store.sqlite_connection import connect, connect_reader
from inferpool.store.statements import load_statements
from inferpool.store.tables import CopiedTable
from tests.store.builders import Value, new_id
from tests.store.filled import filled_store, rows_of
from tests.store.rigs import sqlite_rig
from tests.store.side_desk import ask, new_database
from tests.store.stores import SettableClock, opened_sqlite

pytestmark = pytest.mark.anyio

_NUMBERS = count(1)
CLOCK = SettableClock()


class Watched:
    """Keeps what is told meanwhile."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    def __call__(self, stage: Stage) -> None:
        self.stages.append(stage)


def order(**changes: object) -> Order:
    return msgspec.structs.replace(Order(watch=Watched()), **changes)


@pytest.fixture(scope="module")
async def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled store that nobody changes."""
    return await filled_store(tmp_path_factory.mktemp("template"))


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    """A filled store."""
    return Path(shutil.copy(template, tmp_path / "store.db"))


@pytest.fixture
def url() -> str:
    """An empty database."""
    return new_database(f"copied_{next(_NUMBERS)}", own=False)


@pytest.fixture
async def migrated(url: str) -> str:
    """The same, migrated."""
    await (await open_postgres(url, writer_id=new_id())).close()
    return url


async def moved(path: Path, url: str, **changes: object) -> list[CopiedTable]:
    return await move(path, url, order(**changes), CLOCK, new_id())


async def refused(path: Path, url: str, **changes: object) -> str:
    """The message, once nothing is there."""
    with pytest.raises(InferpoolError) as told:
        await moved(path, url, **changes)
    assert [rows for table, rows in amounts(url).items() if rows] == []
    return str(told.value)


def schema_of(path: Path) -> dict[str, list[str]]:
    """The columns of each table of the file."""
    names = [str(name) for (name,) in rows_of(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {
        name: [str(column) for (column,) in rows_of(path, f"SELECT name FROM pragma_table_info('{name}')")]
        for name in names
    }


def amounts(url: str) -> dict[str, Value]:
    """How many rows each copied table has there."""
    tables = [str(name) for (name,) in ask(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    return {name: ask(url, f"SELECT count(*) FROM {name}")[0][0] for name in tables if name not in LEFT}


async def test_every_row_of_every_table_arrives_as_it_was(path: Path, url: str) -> None:
    told = {one.table: one for one in await moved(path, url)}
    for table, columns in schema_of(path).items():
        if table in LEFT:
            continue
        statement = f"SELECT {', '.join(columns)} FROM {table}"
        here, there = rows_of(path, statement), ask(url, statement)
        assert sorted(map(repr, here)) == sorted(map(repr, there))
        assert told[table].rows == len(here) > 0


async def test_what_arrived_obeys_the_law_nobody_runs_there(path: Path, url: str) -> None:
    await moved(path, url)
    with looking_into(url, CLOCK) as connection:
        assert await check(connection) == []
    assert ask(url, "SELECT count(*) FROM servers") == ask(url, "SELECT count(*) FROM writers") == [(0,)]


async def test_what_arrived_is_known_to_whoever_plans(path: Path, url: str) -> None:
    await moved(path, url)
    known = {str(name) for (name,) in ask(url, "SELECT DISTINCT tablename FROM pg_stats WHERE schemaname = 'public'")}
    assert known >= {name for name, rows in amounts(url).items() if rows}


async def test_the_file_stays_as_it_is(path: Path, url: str) -> None:
    before = hashlib.sha256(path.read_bytes()).digest()
    await moved(path, url)
    assert hashlib.sha256(path.read_bytes()).digest() == before


async def test_the_checksums_do_not_depend_on_the_pages(path: Path) -> None:
    urls = [new_database(f"copied_{next(_NUMBERS)}", own=False) for _ in range(2)]
    whole = await moved(path, urls[0])
    assert await moved(path, urls[1], page_bytes=1) == whole
    assert all(len(one.checksum) == 64 for one in whole)


async def test_it_tells_how_far_it_is(path: Path, url: str) -> None:
    watched = Watched()
    copied = await moved(path, url, watch=watched, page_rows=2)
    assert watched.stages[0].looks_at == "copying tasks"
    shares = [stage.share or 0 for stage in watched.stages]
    assert shares == sorted(shares)
    assert (shares[-1], watched.stages[-1].seen) == (1.0, sum(one.rows for one in copied))


async def test_an_empty_store_is_copied_too(tmp_path: Path, url: str) -> None:
    async with sqlite_rig(tmp_path):
        pass
    assert {one.rows for one in await moved(tmp_path / "store.db", url)} == {0}


async def test_a_database_that_is_not_empty_is_refused_left_as_it_is(path: Path, url: str) -> None:
    await moved(path, url)
    before = amounts(url)
    with pytest.raises(
        Conflict, match=f"is not empty .{before['tasks']!r} rows in tasks, .*: give another, or make a new"
    ):
        await moved(path, url)
    assert amounts(url) == before


async def test_a_database_that_a_server_runs_on_is_refused(path: Path, url: str) -> None:
    pair = await open_postgres(url, writer_id=new_id())
    await pair.store.beat(ServerId("busy"), [])
    assert "a server runs on the database to copy to" in await refused(path, url)
    await pair.close()


async def test_a_file_that_a_server_has_open_is_refused(tmp_path: Path, url: str) -> None:
    async with opened_sqlite(tmp_path / "store.db"):
        with pytest.raises(StoreUnavailable, match="another inferpool server is using"):
            await moved(tmp_path / "store.db", url)


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, url: str) -> None:
    with pytest.raises(StoreUnavailable, match="there is no store at"):
        await moved(tmp_path / "store.db", url)
    assert list(tmp_path.iterdir()) == []


async def test_a_store_that_waits_for_its_migration_is_refused(tmp_path: Path, url: str) -> None:
    with closing(connect(tmp_path / "store.db", CLOCK)) as old:
        await migrate(old, load_migrations("sqlite")[:1], "0.1.0")
    with pytest.raises(StoreUnavailable, match="run `inferpool database migrate` on it first"):
        await moved(tmp_path / "store.db", url)


async def test_a_nul_character_is_told_with_its_row_then_replaced_on_demand(path: Path, url: str) -> None:
    [(task_id,)] = rows_of(path, "SELECT id FROM tasks ORDER BY id LIMIT 1 OFFSET 2")
    rows_of(path, "UPDATE tasks SET agent = 'a' || char(0) WHERE id = ?", task_id)
    told = await refused(path, url)
    assert f"the row {task_id!s} of tasks has a NUL character in agent, which PostgreSQL does not take" in told
    assert "nothing of the copy was kept: delete the task, or copy with --replace-nul" in told
    await moved(path, url, replaces_nul=True)
    assert ask(url, "SELECT agent FROM tasks WHERE agent IS NOT NULL") == [("a\N{REPLACEMENT CHARACTER}",)]


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("max_tries", 101, "the row {} of tasks does not fit there: it cannot be stored: new row for relation"),
        (
            "response_status",
            2**40,
            "one of {} rows of tasks from {} on does not fit there: it cannot be stored: a value",
        ),
    ],
)
async def test_a_row_that_does_not_fit_is_told(path: Path, url: str, column: str, value: int, words: str) -> None:
    tasks = [str(task_id) for (task_id,) in rows_of(path, "SELECT id FROM tasks ORDER BY id")]
    spoil(path, f"UPDATE tasks SET {column} = {value} WHERE id = '{tasks[3]}'")
    told = await refused(path, url)
    assert words.format(*([tasks[3]] if words.startswith("the") else [len(tasks), tasks[0]])) in told
    assert "nothing of the copy was kept: delete it, then copy again" in told


def spoil(path: Path, statement: str) -> None:
    """Change a file, its constraints asleep."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)


MEDDLERS = {
    "changes a row": (
        "BEFORE",
        "NEW.virtual_time := 7; RETURN NEW;",
        "the copy is not the same: checksum of lanes: [0-9a-f]{64} here, [0-9a-f]{64} there; ",
    ),
    "loses a row": (
        "BEFORE",
        "RETURN NULL;",
        "the copy is not the same: checksum of lanes: [0-9a-f]{64} here, [0-9a-f]{64} there; ",
    ),
    "adds a row": (
        "AFTER",
        "INSERT INTO lanes VALUES ('z' || NEW.lane, 1) ON CONFLICT DO NOTHING; RETURN NULL;",
        "the copy is not the same: rows of lanes: 2 here, 4 there; nothing of the copy was kept",
    ),
}


@pytest.fixture(params=MEDDLERS)
def meddler(request: pytest.FixtureRequest, migrated: str) -> str:
    """Makes the target store something else; gives what is said of it."""
    when, does, said = MEDDLERS[request.param]
    depth = "IF pg_trigger_depth() > 1 THEN RETURN NULL; END IF; "
    ask(migrated, f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {depth}{does} END$$")
    ask(migrated, f"CREATE TRIGGER meddles {when} INSERT ON lanes FOR EACH ROW EXECUTE FUNCTION meddle()")
    return said


async def test_a_copy_that_differs_is_found_nothing_of_it_is_kept(path: Path, migrated: str, meddler: str) -> None:
    with pytest.raises(StoreUnavailable, match=meddler):
        await moved(path, migrated)
    assert set(amounts(migrated).values()) == {0}


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE lanes ADD COLUMN colour TEXT", "the schemas differ in lanes"),
        ("CREATE TABLE agents (id TEXT)", "this release does not know the table agents"),
    ],
)
async def test_what_would_stay_behind_stops_the_copy(path: Path, url: str, statement: str, said: str) -> None:
    rows_of(path, statement)
    assert said in await refused(path, url)


class Cuts:
    """Ends every connection of the database at the first page."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.cut = False

    def __call__(self, stage: Stage) -> None:
        if not self.cut:
            self.cut = True
            ask(
                self._url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )


async def test_a_copy_whose_connection_breaks_leaves_nothing_can_be_made_again(path: Path, url: str) -> None:
    assert "nothing of the copy was kept: copy again" in await refused(path, url, watch=Cuts(url), page_rows=2)
    assert len(await moved(path, url)) == len(amounts(url))


class Stopped(Exception):
    """As Ctrl-C is, for one task alone."""


class Stops:
    """Stops the copy at its first page."""

    def __call__(self, stage: Stage) -> None:
        raise Stopped


async def test_a_copy_that_is_stopped_leaves_nothing(path: Path, url: str) -> None:
    with pytest.raises(Stopped):
        await moved(path, url, watch=Stops())
    assert set(amounts(url).values()) == {0}
    await moved(path, url)


async def test_a_database_that_somebody_writes_to_is_refused(path: Path, migrated: str) -> None:
    said = "lock timeout; nothing of the copy was kept: copy again, with nobody at work there"
    with (
        closing(PostgresConnection(Link(Address(migrated, Timeouts())))) as writing,
        closing(PostgresConnection(Link(Address(migrated, Timeouts(lock_s=0.1))), new_id())) as copying,
        closing(connect_reader(path, CLOCK)) as source,
    ):
        await writing.begin()
        await writing.script("INSERT INTO lanes VALUES ('a', 1)")
        with pytest.raises(StoreUnavailable, match=said):
            await copy_store(source, copying, order())


async def test_every_table_is_copied_or_left_on_purpose(tmp_path: Path) -> None:
    async with sqlite_rig(tmp_path):
        pass
    tables = set(schema_of(tmp_path / "store.db")) - LEFT
    for dialect in ("sqlite", "postgres"):
        texts = load_statements(dialect)
        assert {name.removeprefix("copy_") for name in texts if name.startswith("copy_")} == tables
        assert {line.split("'")[1] for line in texts["row_counts"].splitlines() if "'" in line} == tables
