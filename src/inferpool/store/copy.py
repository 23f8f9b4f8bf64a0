"""Moves an SQLite store into an empty PostgreSQL database: all of it, or nothing.

One transaction under a lock on every table. Each page is read back as soon as it is written, so that both sides give a checksum
of every table; a copy that fails, or whose process ends, leaves the database empty.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, closing
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from inferpool.core.clock import Clock
from inferpool.core.errors import Conflict, StoreUnavailable
from inferpool.store.connection import Connection, Row, RowRefused, TransactionLost, Value
from inferpool.store.invariants import Stage
from inferpool.store.migrate import check_store
from inferpool.store.opening import open_store
from inferpool.store.postgres import PostgresOptions
from inferpool.store.postgres_connection import PostgresConnection
from inferpool.store.postgres_driver import Address, Timeouts
from inferpool.store.postgres_faults import copied_line
from inferpool.store.postgres_link import Link
from inferpool.store.rows import APPLIED_MIGRATIONS, SERVERS
from inferpool.store.sqlite import FileLock
from inferpool.store.sqlite_connection import SqliteConnection, connect_reader
from inferpool.store.status import steps_of
from inferpool.store.tables import Checksum, CopiedTable, Table, row_counts, tables

LEFT: Final = frozenset({"migrations", "servers", "writers"})
"""Tables that tell of the place alone: what its schema had, who runs on it."""

PAGE_ROWS: Final = 1000
PAGE_BYTES: Final = 8 * 2**20
"""A page ends with the row that reaches either: one row more than these is in memory, twice."""

_TIMES: Final = Timeouts(statement_s=3600.0, idle_s=60.0)
"""A page takes moments, its commit what the disk takes for all of them."""

_NUL: Final = "\0"
_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"
_KEPT_NOTHING: Final = "nothing of the copy was kept"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """How to copy. `watch` hears of each stage."""

    replaces_nul: bool = False
    """Whether the character that PostgreSQL does not take becomes U+FFFD; else its row stops the copy."""
    page_rows: int = PAGE_ROWS
    page_bytes: int = PAGE_BYTES
    watch: Callable[[Stage], None]


async def move(path: Path, url: str, order: Order, clock: Clock, writer_id: str) -> list[CopiedTable]:
    """Copy the file's store to the database, which is migrated first; the file stays as it is. `writer_id` is new at each start.

    Raises what `copy_store` does; `StoreUnavailable` also when a server runs on the file, or it waits for its migration.
    """
    lock = _held(path)
    try:
        with closing(connect_reader(path, clock)) as source:
            await _check_source(source, path)
            await (await open_store(url, clock, writer_id)).close()
            async with _writing(url, writer_id) as target:
                return await copy_store(source, target, order)
    finally:
        lock.release()


def _held(path: Path) -> FileLock:
    if not path.exists():
        raise StoreUnavailable(f"there is no store at {path}")
    return FileLock(path)


async def _check_source(source: Connection, path: Path) -> None:
    await check_store(source, version("inferpool"))
    steps = steps_of(await source.read(APPLIED_MIGRATIONS, [()]), "sqlite")
    if any(step.applied_at is None for step in steps):
        raise StoreUnavailable(f"{path} waits for its migration: run `inferpool database migrate` on it first")


@asynccontextmanager
async def _writing(url: str, writer_id: str) -> AsyncIterator[PostgresConnection]:
    """A connection for one long transaction."""
    connection = PostgresConnection(Link(Address(url, _TIMES)), writer_id)
    try:
        yield connection
        await connection.write("retire", [(writer_id,)])
    finally:
        connection.close()


async def copy_store(source: SqliteConnection, target: PostgresConnection, order: Order) -> list[CopiedTable]:
    """Copy every table, in one transaction that is committed only when each is the same on both sides.

    Whoever calls holds the source's lock; both have the schema of this release. Raises `Conflict` when the target is not
    empty or a server runs on it, `StoreUnavailable` when a row cannot be stored there, a side fails or the sides differ.
    """
    try:
        await target.begin()
        return await _Copying(source, target, order).run()
    except TransactionLost as lost:
        raise StoreUnavailable(f"{lost}; {_KEPT_NOTHING}: copy again, with nobody at work there") from lost
    finally:
        await target.rollback()


class _Copying:
    """One copy under way."""

    def __init__(self, source: SqliteConnection, target: PostgresConnection, order: Order) -> None:
        self._source = source
        self._target = target
        self._order = order
        self._counts: dict[str, int] = {}
        self._done = 0

    async def run(self) -> list[CopiedTable]:
        """See `copy_store`."""
        await self._target.write("hold_all", [()])
        await self._check_free()
        self._counts = await row_counts(self._source)
        here, there = await tables(self._source), await tables(self._target)
        _check_schemas(here, there, self._counts.keys() | LEFT)
        copied = [await self._table(here[name], there[name]) for name in self._counts]
        for name, rows in (await row_counts(self._target)).items():
            _check_same(f"rows of {name}", self._counts[name], rows)
        await self._target.write("analyze_all", [()])
        await self._target.commit()
        return copied

    async def _check_free(self) -> None:
        """Raises `Conflict` unless the target is nobody's. One server that came since waits for the lock."""
        if await self._target.read(SERVERS, [(PostgresOptions().dead_after,)]):
            raise Conflict("a server runs on the database to copy to, or did a moment ago: stop it first")
        full = [f"{rows} rows in {name}" for name, rows in (await row_counts(self._target)).items() if rows]
        if full:
            raise Conflict(f"the database to copy to is not empty ({', '.join(full)}): give another, or make a new one")

    async def _table(self, here: Table, there: Table) -> CopiedTable:
        read, written = Checksum(here.columns), Checksum(there.columns)
        after: Row = ()
        for page in self._pages(here):
            await self._load(here, page)
            read.add(page)
            after = after or [_least(part) for part in here.key_of(page[0])]
            written.add(await self._target.page(f"copy_{here.name}", [*after, len(page)]))
            after = here.key_of(page[-1])
        _check_same(f"rows of {here.name}", self._counts[here.name], read.rows)
        _check_same(f"checksum of {here.name}", str(read), str(written))
        return CopiedTable(here.name, read.rows, str(read))

    def _pages(self, table: Table) -> Iterator[list[Row]]:
        """The rows of the source, as many at a time as memory should hold."""
        page: list[Row] = []
        size = 0
        for row in self._source.walk(f"copy_{table.name}"):
            page.append(tuple(map(_without_nul, row)) if self._order.replaces_nul else row)
            size += sum(len(value) for value in row if isinstance(value, str | bytes))
            if len(page) >= self._order.page_rows or size >= self._order.page_bytes:
                yield page
                page, size = [], 0
        if page:
            yield page

    async def _load(self, table: Table, page: Sequence[Row]) -> None:
        """Write a page. Raises `StoreUnavailable` that names the row which the target does not take."""
        try:
            await self._target.load(table.name, table.columns, page)
        except RowRefused as refused:
            raise StoreUnavailable(_refusal(table, page, refused)) from refused
        self._done += len(page)
        self._order.watch(Stage(f"copying {table.name}", self._done, self._done / sum(self._counts.values())))


def _check_schemas(here: Mapping[str, Table], there: Mapping[str, Table], known: AbstractSet[str]) -> None:
    """Raises `StoreUnavailable` for a table that would stay behind, for columns that one side alone has."""
    unknown = sorted(here.keys() - known)
    if unknown:
        raise StoreUnavailable(f"this release does not know the table {unknown[0]}: copy with the one that made it")
    for name in sorted(known - LEFT):
        columns = [set(side[name].columns) if name in side else set() for side in (here, there)]
        if columns[0] != columns[1]:
            raise StoreUnavailable(f"the schemas differ in {name}: bring both up by `inferpool database migrate`")


def _check_same(what: str, here: object, there: object) -> None:
    if here != there:
        raise StoreUnavailable(f"the copy is not the same: {what}: {here} here, {there} there; {_KEPT_NOTHING}")


def _least(value: Value) -> Value:
    """What sorts before every value of that kind that a key has."""
    return "" if isinstance(value, str) else -1


def _without_nul(value: Value) -> Value:
    return value.replace(_NUL, _REPLACED) if isinstance(value, str) else value


def _refusal(table: Table, page: Sequence[Row], refused: RowRefused) -> str:
    """Which row it is, what to do with it; nothing of what is in it but its key."""
    line, column = copied_line(refused.__cause__) or (0, "")
    key = " ".join(str(part) for part in table.key_of(page[line - 1 if line else 0]))
    which = f"the row {key} of {table.name}" if line else f"one of {len(page)} rows of {table.name} from {key} on"
    where = f" in {column}" if column else ""
    if any(isinstance(value, str) and _NUL in value for row in page for value in row):
        return (
            f"{which} has a NUL character{where}, which PostgreSQL does not take; {_KEPT_NOTHING}: delete the task, or copy "
            "with --replace-nul"
        )
    return f"{which} does not fit there{where}: {refused}; {_KEPT_NOTHING}: delete it, then copy again"
