"""`inferpool database`: looks at the store itself, migrates it, backs it up, moves it to PostgreSQL."""

import asyncio
import re
import shlex
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from inferpool.cli.exits import EXIT_CODES, ExitCode, complain
from inferpool.cli.output import Output, OutputFlag, plain, print_things, print_value
from inferpool.cli.progress import Meter, progress
from inferpool.cli.store_shapes import COPIED, STEPS, StatusJson, print_status, status_json, step_json
from inferpool.core.errors import StoreUnavailable
from inferpool.host.room import spelled
from inferpool.settings import SettingError, database, load
from inferpool.store.invariants import Stage
from inferpool.store.status import Step
from inferpool.store.tables import CopiedTable

app = typer.Typer(
    no_args_is_help=True,
    help="Look at the store itself; migrate it, back it up, move it to PostgreSQL.",
    epilog=f"$ inferpool database status\n\n{EXIT_CODES}",
)

DatabaseFlag: TypeAlias = Annotated[
    str | None,
    typer.Option("--database-url", metavar="URL", help="the store (default: the server's own)"),
]
_PASSWORD: Final = re.compile(r"(?<=[^/]):[^@/]*(?=@)|(?<=[?&])password=[^&]*&?")
_OFFICE: Final = "postgresql://inferpool@db.example/inferpool"


@app.command(
    "status",
    epilog="Examples:\n\n$ inferpool database status\n\n"
    f"$ inferpool database status --database-url {_OFFICE}\n\n"
    "$ inferpool database status -o json\n\n" + EXIT_CODES + " A store that this release cannot run on is a failure.",
)
def status(database_url: DatabaseFlag = None, output: OutputFlag = None) -> None:
    """Tell what the store is: its kind, its schema, which releases may run on it, its size, roughly what is in it.

    It only reads, little, beside a running server too.
    """
    where = _named(database_url)
    told = asyncio.run(_status(where))
    if output in {Output.JSON, Output.YAML}:
        print_value(plain(told), output or Output.JSON)
    elif output is Output.NAME:
        sys.stdout.write(told.database + "\n")
    else:
        print_status(told, wide=output is Output.WIDE)
    if not told.this_release_may_run:
        raise typer.Exit(ExitCode.FAILED)


@app.command(
    "migrate",
    epilog="Examples:\n\n$ inferpool database migrate\n\n"
    f"$ inferpool database migrate --database-url {_OFFICE}\n\n" + EXIT_CODES,
)
def migrate(database_url: DatabaseFlag = None, output: OutputFlag = None) -> None:
    """Bring the store's schema up to this release; make the store where there is none yet.

    Every server does so itself when it starts: this is for whoever wants it done before. Of an SQLite file no server may
    run on it; in PostgreSQL those that run go on, unless a migration says that they are too old.
    """
    where = _named(database_url)
    done = asyncio.run(_migrate(where))
    if done or output in {Output.JSON, Output.YAML}:
        print_things([step_json(step) for step in done], STEPS, output)
    else:
        _say(f"{_place(where)} has every migration of this release: nothing to do")


@app.command(
    "backup",
    epilog="Examples:\n\n$ inferpool database backup inferpool-$(date +%F).db\n\n"
    "$ inferpool database backup --database-url /var/lib/inferpool.db --force /backup/inferpool.db\n\n"
    "To restore: stop the server, move the store with its -wal and -shm away, copy the backup there.\n\n" + EXIT_CODES,
)
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="what to write; it must not be there yet")],
    force: Annotated[bool, typer.Option("--force", help="replace what is there by that name")] = False,
    database_url: DatabaseFlag = None,
    output: OutputFlag = None,
) -> None:
    """Write the whole SQLite store into one file, as it is at this moment, beside a running server too.

    It gets its name once it is whole, was checked, is on the disk; nobody else may read it. PostgreSQL has its own program
    for that: the error names it.
    """
    from inferpool.compose import WallClock
    from inferpool.store.backup import Order, back_up

    where = _named(database_url)
    if isinstance(where, str):
        raise SettingError(f"a PostgreSQL database is backed up by its own program: {_pg_dump(where, file)}")
    with progress("copying pages") as meter:
        watch = partial(_show, meter)
        order = Order(store=where, file=file, release=version("inferpool"), replaces=force, watch=watch)
        made = back_up(order, WallClock())
    if output in {Output.JSON, Output.YAML}:
        print_value(plain(made), output or Output.JSON)
    elif output is Output.NAME:
        sys.stdout.write(made.file + "\n")
    else:
        sys.stdout.write(f"{made.file}: {spelled(made.size)}, {made.tasks} tasks of {where}, checked\n")
    if made.breaches:
        complain(
            f"the backup is kept, but {made.breaches} breaches of the law are in it as in the store: "
            f"`inferpool doctor --database-url {shlex.quote(made.file)}` names them"
        )
        raise typer.Exit(ExitCode.FAILED)


@app.command(
    "copy",
    epilog=f"Examples:\n\n$ inferpool database copy --to {_OFFICE}\n\n"
    f"$ inferpool database copy --database-url /var/lib/inferpool.db --to {_OFFICE}\n\n" + EXIT_CODES,
)
def copy(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="the empty PostgreSQL database to copy into")],
    replace_nul: Annotated[
        bool,
        typer.Option("--replace-nul", help="write U+FFFD for NUL characters in texts, which PostgreSQL does not take"),
    ] = False,
    database_url: DatabaseFlag = None,
    output: OutputFlag = None,
) -> None:
    """Move an SQLite store into an empty PostgreSQL database, which is migrated first: all of it, or nothing.

    No server may run on either. Every table is read back, counted, compared by its checksum before anything is final. The
    file stays as it is: run no server on it afterwards, or its tasks run twice.
    """
    where, goal = _named(database_url), database(to)
    if isinstance(where, str):
        raise SettingError("copy moves an SQLite store; PostgreSQL has its own programs, pg_dump with pg_restore")
    if not isinstance(goal, str):
        raise SettingError("--to: give a PostgreSQL database: postgresql://USER@HOST/DATABASE")
    copied = asyncio.run(_copy(where, goal, replaces_nul=replace_nul))
    print_things(copied, COPIED, output)
    _say(
        f"{sum(one.rows for one in copied)} rows copied, the same on both sides. Start servers by --database-url "
        f"{shlex.quote(_unsecret(goal))}; start none on {where} any more"
    )


def _named(database_url: str | None) -> Path | str:
    """The store that a flag, or the settings, name."""
    return database(load({"database_url": database_url}).serve.database_url)


def _place(where: Path | str) -> str:
    from inferpool.store.opening import place

    return place(where)


def _dialect(where: Path | str) -> str:
    return "postgres" if isinstance(where, str) else "sqlite"


def _absent(where: Path | str) -> bool:
    """Whether it is a file that nobody has made yet."""
    return isinstance(where, Path) and not where.exists()


def _log_size(where: Path | str) -> int:
    """Bytes of what the server has not moved into the file yet."""
    log = Path(f"{where}-wal")
    return log.stat().st_size if isinstance(where, Path) and log.exists() else 0


def _pg_dump(url: str, file: Path) -> str:
    return f"pg_dump --format=custom --file={shlex.quote(str(file))} {shlex.quote(_unsecret(url))}"


def _unsecret(url: str) -> str:
    """The URL without a password: that comes from PGPASSWORD, or from ~/.pgpass."""
    return _PASSWORD.sub("", url)


async def _status(where: Path | str) -> StatusJson:
    from inferpool.compose import WallClock
    from inferpool.store.opening import looking_into
    from inferpool.store.status import look

    if _absent(where):
        raise StoreUnavailable(
            f"there is no store at {where}: the first server makes it, or `inferpool database migrate`"
        )
    with looking_into(where, WallClock()) as connection:
        told = await look(connection, _dialect(where), version("inferpool"))
    return status_json(_place(where), told, _log_size(where))


async def _migrate(where: Path | str) -> list[Step]:
    """The migrations that the store has now, but had not before."""
    from inferpool.compose import WallClock, new_id
    from inferpool.store.opening import open_store

    before = {step.number for step in await _applied(where)}
    await (await open_store(where, WallClock(), new_id())).close()
    return [step for step in await _applied(where) if step.number not in before]


async def _applied(where: Path | str) -> list[Step]:
    """The migrations of the store; none where it cannot tell, which whoever opens it next will say better."""
    from inferpool.compose import WallClock
    from inferpool.store.opening import looking_into
    from inferpool.store.status import applied_steps

    if _absent(where):
        return []
    with looking_into(where, WallClock()) as connection:
        return await applied_steps(connection, _dialect(where))


async def _copy(where: Path, goal: str, *, replaces_nul: bool) -> list[CopiedTable]:
    from inferpool.compose import WallClock, new_id
    from inferpool.store.copy import Order, move

    with progress("copying") as meter:
        order = Order(replaces_nul=replaces_nul, watch=partial(_show, meter))
        return await move(where, goal, order, WallClock(), new_id())


def _say(line: str) -> None:
    """A word beside the result."""
    sys.stdout.flush()
    sys.stderr.write(line + "\n")


def _show(meter: Meter, stage: Stage) -> None:
    meter.at(stage.share, stage.looks_at + (f": {stage.seen:,}" if stage.seen else ""))
