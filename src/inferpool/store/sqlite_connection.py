"""A connection to one SQLite file, on the port of `connection.py`."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from inferpool.core.clock import Clock, Micros
from inferpool.core.errors import Conflict, InvalidRequest, RequestError, StoreUnavailable
from inferpool.store.connection import Row, RowRefused, Value
from inferpool.store.rows import NOW
from inferpool.store.statements import Statement, load_statements

T = TypeVar("T", bound=msgspec.Struct)
V = TypeVar("V")

_UNSTORABLE: Final = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeEncodeError)
_TAKEN: Final = (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE)
_FREED_AT_ONCE: Final = 256
"""Pages: 2 MB."""
_COPIED_AT_ONCE: Final = 1024
"""Pages: 8 MB."""
_SETTINGS: Final = (
    "page_size",
    "auto_vacuum",
    "journal_mode",
    "synchronous",
    "journal_size_limit",
    "secure_delete",
    "busy_timeout",
    "cache_size",
)
_READER_SETTINGS: Final = ("busy_timeout", "cache_size", "query_only")


def _as_it_is(value: V) -> V:
    return value


for _kind in (bytes, type(None)):
    # What the driver knows no adapter for it asks in vain first, by an exception each: 3 % of the server's work a call.
    sqlite3.register_adapter(_kind, _as_it_is)


class SqliteConnection:
    """Runs each row of a batch by itself: SQLite has no arrays. None of its coroutines ever suspends."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver
        self._cursor = driver.cursor()
        self._texts = load_statements("sqlite")

    async def begin(self) -> Micros:
        """Begin a writing transaction; one that a fault left open is undone before."""
        await self.rollback()
        await self.write("begin", [()])
        return (await self.read(NOW, [()]))[0].now

    async def commit(self) -> None:
        """Write the log, wait until the disk has it."""
        await self.write("commit", [()])

    async def rollback(self) -> None:
        """Undo the transaction; a full disk may have done that already."""
        if self._driver.in_transaction:
            await self.write("rollback", [()])

    async def read(self, statement: Statement[T], rows: Sequence[Row]) -> list[T]:
        """See the port."""
        text, execute = self._texts[statement.name], self._cursor.execute
        with translated():
            found = [values for row in rows for values in execute(text, row).fetchall()]
        return [statement.decode(values) for values in found]

    async def change(self, name: str, rows: Sequence[Row]) -> list[bool]:
        """See the port. The driver counts for statements that begin with INSERT, UPDATE or DELETE (not WITH)."""
        text, execute = self._texts[name], self._cursor.execute
        with translated():
            return [execute(text, row).rowcount > 0 for row in rows]

    async def write(self, name: str, rows: Sequence[Row]) -> None:
        """See the port."""
        with translated():
            if len(rows) == 1:
                self._cursor.execute(self._texts[name], rows[0])
            elif rows:
                self._cursor.executemany(self._texts[name], rows)

    async def script(self, text: str) -> None:
        """See the port. The driver's own way of running scripts would commit first."""
        with translated():
            for statement in _split(text):
                self._cursor.execute(statement)

    async def shrink(self) -> None:
        """Move free pages to the file's end, cut them off: a bounded number, one at a time.

        The driver steps a pragma once, which frees one page.
        """
        with translated():
            (free,) = self._cursor.execute(self._texts["count_free_pages"]).fetchone()
            for _ in range(min(free, _FREED_AT_ONCE)):
                self._cursor.execute(self._texts["free_page"])

    def walk(self, name: str) -> Iterator[tuple[Value, ...]]:
        """All that a statement returns, one row in memory at a time."""
        with translated():
            yield from self._driver.execute(self._texts[name])

    def copy_pages(self, path: Path, watch: Callable[[float], None]) -> None:
        """Copy the whole file as it is now into an empty one, while its server goes on writing; `watch` hears the share done.

        Without a transaction around it the driver would begin anew at each commit of the server.
        """
        source = self._cursor.execute
        with translated(), closing(_opened(path, "rw")) as target:
            target.execute(self._texts["no_journal"]).fetchall()
            source(self._texts["look"])
            try:
                source(self._texts["see"]).fetchall()
                self._driver.backup(target, pages=_COPIED_AT_ONCE, progress=partial(_tell_share, watch))
            finally:
                source(self._texts["rollback"])
            target.execute(self._texts["plain_journal"]).fetchall()

    def close(self) -> None:
        """Close the file; what was not committed is undone."""
        self._driver.close()


def connect(path: Path, clock: Clock) -> SqliteConnection:
    """The writing connection. Raises `StoreUnavailable`."""
    return _connect(path, "rwc", clock, _SETTINGS)


def connect_reader(path: Path, clock: Clock) -> SqliteConnection:
    """A connection that only looks, beside a running server or without one. Raises `StoreUnavailable`."""
    return _connect(path, "ro", clock, _READER_SETTINGS)


def _connect(path: Path, mode: str, clock: Clock, settings: Sequence[str]) -> SqliteConnection:
    texts = load_statements("sqlite")
    with translated():
        driver = _opened(path, mode)
        driver.create_function("now_us", 0, clock.now_us, deterministic=True)
        for name in settings:
            driver.execute(texts[name]).fetchall()
    return SqliteConnection(driver)


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    """Transactions are begun by name; whoever hands the connection to a thread uses it there alone."""
    address = f"file:{quote(str(path))}?mode={mode}"
    kept = len(load_statements("sqlite"))
    return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, cached_statements=kept)


def _tell_share(watch: Callable[[float], None], _status: int, left: int, total: int) -> None:
    watch(1 - left / total if total else 1.0)


def _split(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextmanager
def translated() -> Iterator[None]:
    """The one border where the driver's faults become ours.

    Raises `RowRefused` for a row that can never be stored, `StoreUnavailable` for a database that cannot work now.
    """
    try:
        yield
    except _UNSTORABLE as fault:
        raise RowRefused(_refusal(fault)) from fault
    except (sqlite3.OperationalError, sqlite3.InternalError) as fault:
        raise StoreUnavailable(f"the database cannot work: {fault}{_remedy(fault)}") from fault
    except sqlite3.DatabaseError as fault:
        if isinstance(fault, sqlite3.ProgrammingError):
            raise
        raise StoreUnavailable(f"the database is damaged: {fault}") from fault


def _remedy(fault: sqlite3.Error) -> str:
    full = getattr(fault, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return "; make room on its disk" if full else ""


def _refusal(fault: Exception) -> RequestError:
    if isinstance(fault, sqlite3.IntegrityError) and fault.sqlite_errorcode in _TAKEN:
        return Conflict(f"it exists already: {fault}")
    return InvalidRequest(f"it cannot be stored: {fault}")
