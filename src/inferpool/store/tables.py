"""The tables of a database as wholes: their columns, their keys, how many rows they have, checksums of all of them."""

import hashlib
from collections.abc import Sequence
from operator import itemgetter
from typing import Final, NamedTuple

import msgspec

from inferpool.store.connection import Connection, Row
from inferpool.store.statements import Statement
from inferpool.store.status import Counted


class CopiedTable(msgspec.Struct, frozen=True):
    """A table that is the same on both sides. `checksum`: SHA-256 of its rows in the order of their keys."""

    table: str
    rows: int
    checksum: str


class Table(NamedTuple):
    """A table as its database has it: its columns in their order, those of its key."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    def key_of(self, row: Row) -> Row:
        """The values of the key in a row."""
        return [row[self.columns.index(name)] for name in self.key]


class _Column(msgspec.Struct, frozen=True):
    table_name: str
    column_name: str
    key_place: int


_COLUMNS: Final = Statement("columns", _Column)
_COUNTS: Final = Statement("row_counts", Counted)


class Checksum:
    """Counts rows, digests them: each as the values of its columns in the order of their names, each with its type."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._sorted = itemgetter(*sorted(range(len(columns)), key=columns.__getitem__))
        self._digest = hashlib.sha256()
        self.rows = 0

    def add(self, rows: Sequence[Sequence[object]]) -> None:
        """Take more rows, in the order of their keys."""
        self.rows += len(rows)
        self._digest.update(b"".join([msgspec.msgpack.encode(self._sorted(row)) for row in rows]))

    def __str__(self) -> str:
        return self._digest.hexdigest()


async def tables(connection: Connection) -> dict[str, Table]:
    """The tables of a database by their names."""
    found: dict[str, list[_Column]] = {}
    for column in await connection.read(_COLUMNS, [()]):
        found.setdefault(column.table_name, []).append(column)
    return {name: _table(name, columns) for name, columns in found.items()}


def _table(name: str, columns: Sequence[_Column]) -> Table:
    key = sorted((one for one in columns if one.key_place), key=lambda one: one.key_place)
    return Table(name, tuple(one.column_name for one in columns), tuple(one.column_name for one in key))


async def row_counts(connection: Connection) -> dict[str, int]:
    """How many rows each table has that is copied."""
    return {one.name: one.size for one in await connection.read(_COUNTS, [()])}
