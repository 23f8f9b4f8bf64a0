"""Claims about `inferpool database`: what it tells of a store, migrates, backs up, moves; what stands against each."""

import json
import os
import re
import shlex
import sqlite3
import stat
import subprocess
from contextlib import closing
from importlib.metadata import version
from itertools import count
from pathlib import Path

import pytest

from inferpool.cli.database import _PASSWORD
from inferpool.store.invariants import RULES
from inferpool.store.migrate import load_migrations
from tests.cli.played import Site
from tests.cli.typed import Told, Typed
from tests.store.side_desk import ask, new_database
from tests.store.throwaway import NEWEST, PASSWORD, programs, server

KNOWN = len(load_migrations("sqlite"))
TABLES = {"tasks", "attempts", "chunks", "idempotency_keys", "lanes", "sessions", "llms", "tokens", "audit"}
_NUMBERS = count(1)


@pytest.fixture
def url() -> str:
    """An empty database of PostgreSQL."""
    return new_database(f"typed_{next(_NUMBERS)}")


@pytest.fixture
def store(typed: Typed, tmp_path: Path) -> Path:
    """A store at rest with a token in it."""
    path = tmp_path / "store.db"
    assert typed("token", "create", "--role", "admin", "--subject", "ada", "--database-url", str(path)).code == 0
    return path


def one_line(told: Told, code: int = 1) -> str:
    """The one line of an error."""
    assert (told.code, told.output) == (code, "")
    assert told.errors.startswith("error: ")
    assert told.errors.count("\n") == 1
    return told.errors


def facts(told: Told) -> dict[str, str]:
    """What the output says of each thing."""
    assert (told.code, told.errors) == (0, "")
    return {name: said.strip() for name, _, said in (line.partition(":") for line in told.output.splitlines())}


# ---- status ------------------------------------------------------------------------------------------------------------


def test_the_status_of_a_store_is_told_beside_its_server(site: Site, typed: Typed) -> None:
    told = facts(typed("database", "status", "--database-url", str(site.database)))
    assert told["database"] == str(site.database)
    assert told["engine"] == f"SQLite {sqlite3.sqlite_version}"
    assert told["migrations"] == f"{KNOWN} applied"
    assert told["runs on"].endswith(f" or newer; this is {version('inferpool')}")
    assert (told["pending"], told["held"], told["ended"], told["llms"]) == ("1", "1", "3", "1")


def test_the_status_has_every_form(site: Site, typed: Typed) -> None:
    command = ("database", "status", "--database-url", str(site.database))
    told = json.loads(typed(*command, "-o", "json").output)
    log = site.database.with_name("store.db-wal").stat().st_size
    assert (told["database"], told["this_release_may_run"]) == (str(site.database), True)
    assert told["size"] >= log > 0
    assert [(one["number"], one["known"]) for one in told["migrations"]] == [(n, True) for n in range(1, KNOWN + 1)]
    assert {"name": "pending", "size": 1, "exact": True} in told["amounts"]
    assert f"database: {site.database}\n" in typed(*command, "-o", "yaml").output
    assert typed(*command, "-o", "name").output == f"{site.database}\n"
    assert "0002 tokens: applied, " in typed(*command, "-o", "wide").output


def test_a_store_that_is_not_there_is_told_not_made(typed: Typed, tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    told = one_line(typed("database", "status", "--database-url", str(path)))
    assert told == f"error: there is no store at {path}: the first server makes it, or `inferpool database migrate`\n"
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_told_with_what_makes_a_store_of_it(typed: Typed, url: str) -> None:
    told = one_line(typed("database", "status", "--database-url", url))
    assert "there is no inferpool store" in told
    assert "`inferpool database migrate` makes one of an empty database" in told


def test_a_store_of_a_newer_release_is_told_as_a_failure(typed: Typed, store: Path) -> None:
    with closing(sqlite3.connect(store, isolation_level=None)) as newer:
        newer.execute("INSERT INTO migrations SELECT 99, 'agents', '9.0.0', applied_at FROM migrations LIMIT 1")
    told = typed("database", "status", "--database-url", str(store), "-o", "wide")
    assert (told.code, told.errors) == (1, "")
    assert f"{KNOWN + 1} applied, 1 of them by a newer release" in told.output
    assert "inferpool 9.0.0 or newer; this is " in told.output
    assert "0099 agents: applied by a newer release, " in told.output
    for command in (("migrate",), ("backup", str(store.with_name("b.db"))), ("copy", "--to", "postgresql:///x")):
        refused = one_line(typed("database", *command, "--database-url", str(store)))
        assert "migrated for inferpool 9.0.0 or newer; this is " in refused


# ---- migrate -----------------------------------------------------------------------------------------------------------


def test_a_file_is_made_then_nothing_is_left_to_do(typed: Typed, tmp_path: Path) -> None:
    command = ("database", "migrate", "--database-url", str(tmp_path / "store.db"))
    told = typed(*command)
    assert (told.code, told.errors) == (0, "")
    assert [line[:3] for line in told.lines[1:3]] == [["1", "tasks", "applied"], ["2", "tokens", "applied"]]
    again = typed(*command)
    assert (again.code, again.output) == (0, "")
    assert again.errors == f"{tmp_path / 'store.db'} has every migration of this release: nothing to do\n"
    assert typed(*command, "-o", "json") == (0, '{\n  "data": []\n}\n', "")


def test_a_database_of_postgresql_is_migrated_told(typed: Typed, url: str) -> None:
    told = typed("database", "migrate", "--database-url", url, "-o", "name")
    assert (told.code, told.errors) == (0, "")
    assert told.output.split() == [step.name for step in load_migrations("postgres")]
    status = facts(typed("database", "status", "--database-url", url))
    assert status["engine"].startswith("PostgreSQL ")
    assert "nothing to do" in typed("database", "migrate", "--database-url", url).errors


def test_what_waits_is_told_then_applied(typed: Typed, store: Path) -> None:
    last = load_migrations("sqlite")[-1]
    with closing(sqlite3.connect(store, isolation_level=None)) as older:
        older.execute("ALTER TABLE sessions DROP COLUMN bound_epoch")
        older.execute("ALTER TABLE llms DROP COLUMN revision")
        older.execute("DELETE FROM migrations WHERE number = ?", (last.number,))
    command = ("--database-url", str(store))
    told = facts(typed("database", "status", *command))
    assert told["migrations"].startswith(f"{KNOWN - 1} applied, 1 wait: the next server applies them, or `inferpool")
    assert "pending" not in told
    assert " waits " in typed("database", "status", *command, "-o", "wide").output.replace(",", " ")
    assert "run `inferpool database migrate` on it" in one_line(
        typed("database", "copy", *command, "--to", "postgresql:///x")
    )
    assert typed("database", "migrate", *command).lines[1][:3] == [str(last.number), last.name, "applied"]


def test_a_file_that_a_server_has_open_is_not_migrated(site: Site, typed: Typed) -> None:
    told = one_line(typed("database", "migrate", "--database-url", str(site.database)))
    assert "another inferpool server is using" in told
    assert "stop it first" in told


# ---- backup ------------------------------------------------------------------------------------------------------------


def test_a_backup_is_made_beside_the_server_it_is_a_sound_store(site: Site, typed: Typed, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    told = typed("database", "backup", str(file), "--database-url", str(site.database))
    assert (told.code, told.errors) == (0, "")
    assert re.fullmatch(rf"{file}: \d+ MB, 5 tasks of {site.database}, checked\n", told.output)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    checked = typed("doctor", "--database-url", str(file))
    assert checked.output.count(": ok\n") == len(RULES)
    assert checked.output.endswith(f"5 tasks checked in {file}: no breach of the law\n")


def test_a_backup_never_replaces_a_file_but_by_force(typed: Typed, store: Path) -> None:
    file = store.with_name("backup.db")
    command = ("database", "backup", str(file), "--database-url", str(store))
    assert json.loads(typed(*command, "-o", "json").output) == {
        "file": str(file),
        "size": file.stat().st_size,
        "tasks": 0,
        "breaches": 0,
    }
    assert one_line(typed(*command)).endswith("is there already: name another file, or replace it by --force\n")
    assert typed(*command, "--force", "-o", "name") == (0, f"{file}\n", "")
    assert "is the store itself" in one_line(
        typed("database", "backup", str(store), "--force", "--database-url", str(store))
    )


def test_a_backup_with_breaches_is_kept_told_as_a_failure(typed: Typed, store: Path) -> None:
    file = store.with_name("backup.db")
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("INSERT INTO attempts VALUES ('gone', 1, 's', NULL, 1, 2, 'completed', 0, NULL, NULL, NULL)")
    told = typed("database", "backup", str(file), "--database-url", str(store))
    assert (told.code, told.output.endswith("checked\n")) == (1, True)
    assert f"1 breaches of the law are in it as in the store: `inferpool doctor --database-url {file}`" in told.errors
    assert file.exists()


@pytest.mark.parametrize(
    ("file", "said"),
    [("nowhere/backup.db", "No such file or directory"), (".", "is a folder: name a file in it")],
)
def test_a_place_that_cannot_be_written_is_one_line(typed: Typed, store: Path, file: str, said: str) -> None:
    told = one_line(typed("database", "backup", str(store.parent / file), "--database-url", str(store)))
    assert said in told
    assert str(store.parent) in told


def test_of_postgresql_the_command_is_told_that_backs_it_up(typed: Typed, url: str, tmp_path: Path) -> None:
    assert typed("token", "create", "--role", "admin", "--subject", "ada", "--database-url", url).code == 0
    secret = url.replace("postgres@", "postgres:secret@")
    told = one_line(typed("database", "backup", str(tmp_path / "a b.dump"), "--database-url", secret), code=2)
    assert "secret" not in told
    program, *rest = shlex.split(told.partition("by its own program: ")[2])
    if "host=" in url:
        subprocess.run([programs(NEWEST) / program, *rest], check=True, env={**os.environ, "PGPASSWORD": "secret"})
        assert (tmp_path / "a b.dump").stat().st_size > 1000


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5433/d", "postgresql://u@h:5433/d"),
        ("postgresql://u@h:5433/d?sslmode=require", "postgresql://u@h:5433/d?sslmode=require"),
        ("postgresql://u:p%40@h/d?password=p&host=a", "postgresql://u@h/d?host=a"),
        ("postgresql:///d?host=a&password=p", "postgresql:///d?host=a&"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert _PASSWORD.sub("", url) == shown


# ---- copy --------------------------------------------------------------------------------------------------------------


def test_a_store_is_moved_to_postgresql(own_site: Site, typed: Typed, url: str) -> None:
    command = ("database", "copy", "--database-url", str(own_site.database), "--to", url)
    assert "another inferpool server is using" in one_line(typed(*command))
    backup = own_site.database.with_name("backup.db")
    assert typed("database", "backup", str(backup), "--database-url", str(own_site.database)).code == 0
    told = typed("database", "copy", "--database-url", str(backup), "--to", url)
    assert told.code == 0
    assert {line[0] for line in told.lines[1:]} == TABLES
    assert told.lines[1][:2] == ["tasks", "5"]
    assert re.match(r"\d+ rows copied, the same on both sides. Start servers by --database-url ", told.errors)
    assert ask(url, "SELECT count(*) FROM tasks") == [(5,)]
    checked = typed("doctor", "--database-url", url)
    assert (checked.code, checked.output.count(": ok\n")) == (0, len(RULES))
    again = one_line(typed("database", "copy", "--database-url", str(backup), "--to", url))
    assert "is not empty (5 rows in tasks, " in again
    status = facts(typed("database", "status", "--database-url", url))
    assert (status["pending"], status["held"], status["ended"]) == ("1", "1", "3")


def test_the_copy_has_every_form(typed: Typed, store: Path) -> None:
    for form in ("json", "yaml", "wide", "name"):
        goal = new_database(f"typed_form_{form}")
        told = typed("database", "copy", "--database-url", str(store), "--to", goal, "-o", form)
        assert told.code == 0
        assert all(table in told.output for table in TABLES)


BAD_GOALS = {
    "wrong password": ("guarded:wrong@", "", "correct the password in the URL"),
    "no such database": ("", "nowhere", "create the database"),
    "no right": (f"guarded:{PASSWORD.replace(' ', '%20')}@", "", "GRANT CREATE ON SCHEMA public"),
}


@pytest.mark.parametrize("kind", BAD_GOALS)
def test_a_database_that_cannot_be_used_is_one_line(typed: Typed, store: Path, url: str, kind: str) -> None:
    user, other, said = BAD_GOALS[kind]
    goal = url.replace("postgres@", user) if user else url
    if other:
        goal = server().url(other)
    told = one_line(typed("database", "copy", "--database-url", str(store), "--to", goal))
    assert said in told
    assert "wrong@" not in told
    assert PASSWORD not in told


def test_a_copy_goes_from_a_file_to_a_database(typed: Typed, store: Path, tmp_path: Path) -> None:
    told = one_line(typed("database", "copy", "--database-url", str(store), "--to", str(tmp_path / "b.db")), code=2)
    assert "give a PostgreSQL database" in told
    told = one_line(typed("database", "copy", "--database-url", "postgresql:///a", "--to", "postgresql:///b"), code=2)
    assert "pg_dump with pg_restore" in told
    told = one_line(typed("database", "copy", "--database-url", str(tmp_path / "none.db"), "--to", "postgresql:///b"))
    assert "there is no store at" in told
    assert "--to" in one_line(typed("database", "copy", "--database-url", str(store)), code=2)


def test_a_nul_character_stops_the_copy_until_it_may_be_replaced(typed: Typed, store: Path, url: str) -> None:
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("UPDATE audit SET resource = 'a' || char(0)")
    command = ("database", "copy", "--database-url", str(store), "--to", url)
    assert "of audit has a NUL character in resource" in one_line(typed(*command))
    assert typed(*command, "--replace-nul").code == 0
