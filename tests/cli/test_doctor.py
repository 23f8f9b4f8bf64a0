"""Claims about `inferpool doctor`: what it tells of a store, how it ends."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from inferpool.cli.doctor import SHOWN
from inferpool.store.invariants import RULES
from tests.cli.played import Site
from tests.cli.typed import Typed


def test_a_store_is_checked_beside_its_running_server(site: Site, typed: Typed) -> None:
    told = typed("doctor", "--database-url", str(site.database))
    assert (told.code, told.errors) == (0, "")
    assert told.output.count(": ok\n") == len(RULES)
    assert told.output.endswith(f"5 tasks checked in {site.database}: no breach of the law\n")


def test_each_breach_is_told_with_its_remedy_many_are_counted(own_site: Site, typed: Typed) -> None:
    with closing(sqlite3.connect(own_site.database, isolation_level=None)) as connection:
        connection.execute("UPDATE tasks SET size = size + 1 WHERE status = 'pending'")
        history = "INSERT INTO attempts SELECT 'gone ' || ?, 1, session_id, llm_name, 1, 2, ending, 0, code, message, detail FROM attempts LIMIT 1"
        connection.executemany(history, [(number,) for number in range(SHOWN + 5)])
    told = typed("doctor", "--database-url", f"sqlite://{own_site.database}")
    assert told.code == 1
    assert f"BROKEN size: {own_site.tasks['pending']}: size " in told.output
    assert told.output.count("BROKEN orphaned_history: gone ") == SHOWN
    assert f"broken {SHOWN + 5} times; harmless: it takes up room only" in told.output
    assert told.output.endswith(f": {SHOWN + 6} breaches of the law\n")


def test_a_disk_with_little_room_is_told_the_store_is_well(
    site: Site, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("doctor", "--database-url", str(site.database))
    assert '"disk"' in typed(*command, "-o", "json").output
    assert typed(*command, "-o", "name").output == ""
    monkeypatch.setattr("inferpool.cli.checkup.LITTLE", 2**80)
    told = typed(*command)
    assert told.code == 0
    assert f"free where {site.database} is; make room: a full disk refuses every call" in told.output
    assert typed(*command, "-o", "name").output == "disk\n"


def test_a_store_of_a_newer_release_is_a_failure_in_one_line(typed: Typed, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    assert typed("token", "list", "--database-url", str(path)).code == 0
    with closing(sqlite3.connect(path, isolation_level=None)) as newer:
        newer.execute("INSERT INTO migrations SELECT 99, 'agents', '9.0.0', applied_at FROM migrations LIMIT 1")
    for command in (("doctor",), ("serve", "--port", "0"), ("up", "--port", "0"), ("token", "list")):
        told = typed(*command, "--database-url", str(path))
        assert (told.code, told.output) == (1, "")
        assert told.errors.startswith(
            f"error: {path}: the database was migrated for inferpool 9.0.0 or newer; this is "
        )
        assert told.errors.count("\n") == 1


def test_what_is_no_store_is_a_failure_in_one_line(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("These are notes, not a database. " * 100)
    told = typed("doctor", "--database-url", str(tmp_path / "notes.txt"))
    assert (told.code, told.output) == (1, "")
    assert told.errors.startswith(f"error: {tmp_path / 'notes.txt'}: ")
    assert told.errors.count("\n") == 1


def test_a_store_that_is_not_there_is_a_failure_in_one_line(typed: Typed, tmp_path: Path) -> None:
    told = typed("doctor", "--database-url", str(tmp_path / "none.db"))
    assert (told.code, told.output) == (1, "")
    assert told.errors.startswith("error: ")
    assert told.errors.count("\n") == 1
    assert not (tmp_path / "none.db").exists()
