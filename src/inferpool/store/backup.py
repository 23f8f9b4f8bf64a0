"""Makes a backup of an SQLite store while its server runs."""

import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from inferpool.core.clock import Clock
from inferpool.core.errors import Conflict, StoreUnavailable
from inferpool.host.locks import PLAIN
from inferpool.host.room import room_for, spelled
from inferpool.store.connection import Connection
from inferpool.store.invariants import Stage, Survey
from inferpool.store.migrate import check_store
from inferpool.store.opening import naming
from inferpool.store.runners import drive
from inferpool.store.sqlite import FileLock
from inferpool.store.sqlite_connection import connect_reader
from inferpool.store.statements import Statement

_PRIVATE: Final = 0o600
_LOG: Final = "-wal"


class BackedUp(msgspec.Struct, frozen=True, kw_only=True):
    """What was made: where, how large (bytes), how many tasks are in it, how many breaches of the law."""

    file: str
    size: int
    tasks: int
    breaches: int
    """Those of the store itself: the copy is page by page."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `watch` hears of each stage."""

    store: Path
    file: Path
    release: str
    """The running code's."""
    replaces: bool = False
    """Whether a file of that name may be there."""
    watch: Callable[[Stage], None]


class _Word(msgspec.Struct, frozen=True):
    text: str


_WHOLE: Final = Statement("whole", _Word)


def back_up(order: Order, clock: Clock) -> BackedUp:
    """Write the store into one file, for nobody else to read; it has its name only when it is whole on the disk.

    The connection to the store only reads: it never moves the log into the file, which is its server's alone to do.
    Raises `Conflict` when that name is taken, `StoreUnavailable` when the store cannot be read, the file not be written or
    what was written is not sound; `OSError` of the file's folder.
    """
    if not order.store.exists():
        raise StoreUnavailable(f"there is no store at {order.store}")
    with contextlib.ExitStack() as after:
        _check_name(order, after)
        part = order.file.with_name(f"{order.file.name}.{os.getpid()}.part")
        after.callback(part.unlink, missing_ok=True)
        _write(order, part, clock)
        done = _checked(order, part, clock)
        _publish(part, order)
    return done


def _check_name(order: Order, after: contextlib.ExitStack) -> None:
    """Raises `Conflict` unless a file may be made by that name; holds back any server of a store that it replaces."""
    file = order.file
    if file.is_dir():
        raise Conflict(f"{file} is a folder: name a file in it")
    if not file.exists():
        return
    if file.samefile(order.store):
        raise Conflict(f"{file} is the store itself: name another file")
    if not order.replaces:
        raise _taken(file)
    log = file.with_name(file.name + _LOG)
    if log.exists() and log.stat().st_size:
        raise Conflict(
            f"{file} is a store with its log beside it, which would be mixed with the backup: name another file"
        )
    if file.with_name(file.name + ".lock").exists():
        after.callback(FileLock(file).release)


def _taken(file: Path) -> Conflict:
    return Conflict(f"{file} is there already: name another file, or replace it by --force")


def _write(order: Order, part: Path, clock: Clock) -> None:
    with naming(order.store), contextlib.closing(connect_reader(order.store, clock)) as source:
        drive(check_store(source, order.release))
        need, free = order.store.stat().st_size, room_for(order.file.absolute().parent)
        if free is not None and free < need:
            raise StoreUnavailable(
                f"a backup needs {spelled(need)}, {order.file} has {spelled(free)}: make room on its disk"
            )
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | PLAIN, _PRIVATE))
        source.copy_pages(part, partial(_tell, order.watch))


def _tell(watch: Callable[[Stage], None], share: float) -> None:
    watch(Stage("copying pages", share=share))


def _checked(order: Order, part: Path, clock: Clock) -> BackedUp:
    """Raises `StoreUnavailable` when the file is not sound."""
    with naming(part), contextlib.closing(connect_reader(part, clock)) as connection:
        order.watch(Stage("checking pages"))
        for word in drive(connection.read(_WHOLE, [()])):
            if word.text != "ok":
                raise StoreUnavailable(f"the backup is not sound, so it was not kept; is the store? ({word.text})")
        tasks, breaches = drive(_surveyed(connection, order.watch))
    return BackedUp(file=str(order.file), size=part.stat().st_size, tasks=tasks, breaches=breaches)


async def _surveyed(connection: Connection, watch: Callable[[Stage], None]) -> tuple[int, int]:
    """How many tasks there are, how many breaches of the law."""
    survey = Survey(connection, watch=partial(_tell_check, watch))
    breaches = 0
    async for _ in survey.violations():
        breaches += 1
    return survey.tasks, breaches


def _tell_check(watch: Callable[[Stage], None], stage: Stage) -> None:
    watch(msgspec.structs.replace(stage, looks_at=f"checking {stage.looks_at}"))


def _publish(part: Path, order: Order) -> None:
    """Give the file its name once the disk has it. Raises `Conflict` when somebody took the name meanwhile."""
    _flush(part, os.O_RDWR)
    if order.replaces:
        part.replace(order.file)
    else:
        _name(part, order.file)
    with contextlib.suppress(OSError):  # not every system lets a folder be opened
        _flush(order.file.absolute().parent, os.O_RDONLY)


def _name(part: Path, file: Path) -> None:
    """Renaming would replace whatever is there; a second name does not."""
    try:
        file.hardlink_to(part)
    except FileExistsError as fault:
        raise _taken(file) from fault
    except OSError:  # a disk without second names
        part.rename(file)


def _flush(path: Path, mode: int) -> None:
    """Wait until the disk has a file, or what a folder says of its files."""
    handle = os.open(path, mode | PLAIN)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
