"""Claims about `inferpool serve` with `inferpool worker` as processes: how they start, how they end."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.played import Site, running_server
from tests.cli.typed import Typed
from tests.store.side_desk import new_database
from tests.store.throwaway import server


def test_a_server_ends_politely_at_ctrl_c(tmp_path: Path) -> None:
    with running_server(tmp_path) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert "Traceback" not in (tmp_path / "server.log").read_text()


def test_a_second_server_on_the_same_store_is_refused(site: Site, typed: Typed) -> None:
    told = typed("serve", "--port", "0", "--database-url", str(site.database))
    assert told.code == 1
    assert "another inferpool server is using" in told.errors.splitlines()[-1]


def test_a_port_that_is_taken_is_told(site: Site, typed: Typed, tmp_path: Path) -> None:
    told = typed("serve", "--port", site.url.rpartition(":")[2], "--database-url", str(tmp_path / "other.db"))
    assert told.code == 1
    assert "error: " in told.errors.splitlines()[-1]
    assert "ddress already in use" in told.errors.splitlines()[-1]
    assert "--port" in told.errors.splitlines()[-1]


def test_sqlite_has_one_process(typed: Typed, tmp_path: Path) -> None:
    told = typed("serve", "--processes", "2", "--port", "0", "--database-url", str(tmp_path / "own.db"))
    assert (told.code, told.output) == (2, "")
    assert told.errors.startswith(f"error: processes: {tmp_path}/own.db is SQLite, one file that one process writes")
    assert list(tmp_path.iterdir()) == []


def test_processes_are_not_started_where_connections_are_not_spread(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferpool.cli.parent.SHARES", False)
    told = typed("serve", "--processes", "2", "--port", "0", "--database-url", "postgresql://nobody@127.0.0.1:1/none")
    assert (told.code, "behind a proxy" in told.errors) == (2, True)


def test_processes_do_not_take_a_port_that_is_taken(site: Site, typed: Typed) -> None:
    port = site.url.rpartition(":")[2]
    told = typed("serve", "--processes", "2", "--port", port, "--database-url", "postgresql://nobody@127.0.0.1:1/none")
    assert (told.code, len(told.errors.splitlines())) == (1, 1)
    assert "ddress already in use" in told.errors


def test_what_stands_against_many_processes_is_told_once(typed: Typed) -> None:
    flags = ("serve", "--processes", "3", "--port", "0", "--database-url")
    told = typed(*flags, server().url("nowhere"))
    assert (told.code, told.output, len(told.errors.splitlines())) == (1, "", 1)
    assert "create the database" in told.errors
    refused = typed(*flags, new_database("reachable"), "--host", "0.0.0.0")
    assert (refused.code, refused.output) == (2, "")
    assert "inferpool token create --role admin" in refused.errors.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_waits_for_its_engine_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "inferpool.toml").write_text('state_folder = "state"\n')
    nowhere = "http://127.0.0.1:9"
    command = [sys.executable, "-m", "inferpool", "worker", "--server", nowhere, "--engine", nowhere, "--name", "a"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "waiting for the engine" in process.stderr.readline()
        second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (second.returncode, "another worker runs on" in second.stderr) == (1, True)
        process.send_signal(number)
        errors = process.stderr.read()
    assert process.returncode == 0
    assert "Traceback" not in errors
