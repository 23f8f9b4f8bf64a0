"""The port to one database connection: named statements over rows.

A batch is handed over as rows. SQLite executes them one by one, Postgres turns them into columns (`unnest`); the code
above is the same. Its methods are coroutines for the sake of asynchronous drivers; SQLite's never suspend.
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from inferpool.core.clock import Micros
from inferpool.core.errors import RequestError
from inferpool.store.statements import Statement

Value: TypeAlias = str | bytes | int | float | None
Row: TypeAlias = Sequence[Value]

T = TypeVar("T", bound=msgspec.Struct)


class RowRefused(Exception):
    """The database takes one of the rows under no circumstances; `error` is for whoever brought it.

    The transaction cannot go on: it is rolled back, then made again without that row.
    """

    def __init__(self, error: RequestError) -> None:
        super().__init__(error.message)
        self.error = error


class TransactionLost(Exception):
    """The transaction was undone by no fault of its rows: another server was first, the connection broke.

    Nothing of it was kept: it is made again.
    """


class Connection(Protocol):
    """One connection with at most one transaction.

    Every method raises `RowRefused` for a row that breaks a constraint or cannot be stored at all, `StoreUnavailable`
    when the database cannot work at the moment, `TransactionLost` where there are other writers.
    """

    async def begin(self) -> Micros:
        """Begin a writing transaction; gives the database's time."""
        ...

    async def commit(self) -> None:
        """Make the transaction durable."""
        ...

    async def rollback(self) -> None:
        """Undo the transaction, if there is one."""
        ...

    async def read(self, statement: Statement[T], rows: Sequence[Row]) -> list[T]:
        """Run the statement for each row of parameters; gives what all of them returned, in order."""
        ...

    async def change(self, name: str, rows: Sequence[Row]) -> list[bool]:
        """Run a compare-and-swap for each row of parameters; tells for each whether it changed anything."""
        ...

    async def write(self, name: str, rows: Sequence[Row]) -> None:
        """Run a statement for each row of parameters, whatever it changes."""
        ...

    async def script(self, text: str) -> None:
        """Run the statements of a migration inside the transaction."""
        ...

    async def shrink(self) -> None:
        """Inside the transaction, give a little of the space that deletes freed back to the file system."""
        ...
