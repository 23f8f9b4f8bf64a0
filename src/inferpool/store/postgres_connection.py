"""A connection to PostgreSQL, on the port of `connection.py`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import msgspec

from inferpool.core.clock import Micros
from inferpool.core.errors import InvalidRequest, StoreUnavailable
from inferpool.store.connection import Row, RowRefused, TransactionLost
from inferpool.store.postgres_driver import Driver, Values
from inferpool.store.postgres_faults import Broken, translated
from inferpool.store.postgres_link import Link
from inferpool.store.statements import Statement

T = TypeVar("T", bound=msgspec.Struct)

_UNKNOWN_PAUSE_S: Final = 0.5
"""Between two questions what became of a commit."""


class PostgresConnection:
    """Hands a batch over as columns: one round trip a statement, however many rows.

    A read outside a transaction whose connection breaks is made again. A commit whose answer was lost is not: under the
    name `writer_id` each transaction carries its number, and whether that is there says whether it was kept.
    """

    def __init__(self, link: Link, writer_id: str | None = None) -> None:
        self._link = link
        self._writer_id = writer_id
        self._commits = 0
        self._open: Driver | None = None
        """The connection that the transaction is on, while there is one."""

    async def begin(self) -> Micros:
        """Begin a writing transaction; one that a fault left open is undone before."""
        await self.rollback()
        driver = await self._link.driver()
        self._open = driver
        with self._speaking():
            await driver.command("begin")
            if self._writer_id is None:
                [[now]] = await driver.run("begun", [()])
            else:
                [[now]] = await driver.run("count_commit", [(self._writer_id, self._commits + 1)])
        return msgspec.convert(now, Micros)

    async def commit(self) -> None:
        """Make the transaction durable. When its answer is lost, whether it is durable is found out, however long it takes.

        Raises `TransactionLost` when it is not, `StoreUnavailable` when the store closes before that is known.
        """
        driver, self._open = self._open, None
        if driver is None:
            raise TransactionLost("the transaction was undone before its commit")
        try:
            with self._speaking():
                await driver.command("commit")
        except (TransactionLost, StoreUnavailable) as fault:
            if not await self._was_kept():
                raise TransactionLost(f"the commit failed: {fault}") from fault
        self._commits += 1

    async def rollback(self) -> None:
        """Undo the transaction; with a connection that cannot even do that, the server will."""
        driver, self._open = self._open, None
        if driver is None or driver.closed:
            return
        try:
            with self._speaking():
                await driver.command("rollback")
        except (TransactionLost, StoreUnavailable):
            self._link.drop()

    async def read(self, statement: Statement[T], rows: Sequence[Row]) -> list[T]:
        """See the port."""
        return [statement.decode(values) for values in await self._run(statement.name, rows)]

    async def change(self, name: str, rows: Sequence[Row]) -> list[bool]:
        """See the port. The statement gives the places, from 1, of the rows that changed anything."""
        changed = {values[0] for values in await self._run(name, rows)}
        return [place in changed for place in range(1, len(rows) + 1)]

    async def write(self, name: str, rows: Sequence[Row]) -> None:
        """See the port."""
        await self._run(name, rows)

    async def page(self, name: str, row: Row) -> list[Values]:
        """What a statement returns, as it comes: for tables as a whole."""
        return await self._run(name, [row])

    async def load(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Write whole rows inside the transaction, by COPY. Raises `RowRefused`: its cause tells which row."""
        driver = self._open or await self._link.driver()
        try:
            with self._speaking():
                await driver.load(table, columns, rows)
        except OverflowError as fault:
            raise RowRefused(InvalidRequest("it cannot be stored: a value does not fit its column")) from fault

    async def script(self, text: str) -> None:
        """See the port."""
        driver = self._open or await self._link.driver()
        with self._speaking():
            await driver.script(text)

    async def shrink(self) -> None:
        """Nothing: vacuum gives space back by itself."""

    def close(self) -> None:
        """Close the connection; what was not committed is undone."""
        self._link.drop()

    async def _run(self, name: str, rows: Sequence[Row]) -> list[Values]:
        if not rows:
            return []
        if self._open is not None:
            with self._speaking():
                return await self._open.run(name, rows)
        try:
            return await self._once(name, rows)
        except TransactionLost:
            return await self._again(name, rows)

    async def _again(self, name: str, rows: Sequence[Row]) -> list[Values]:
        try:
            return await self._once(name, rows)
        except TransactionLost as fault:
            raise StoreUnavailable(f"the database cannot work: {fault}") from fault

    async def _once(self, name: str, rows: Sequence[Row]) -> list[Values]:
        driver = await self._link.driver()
        with self._speaking():
            return await driver.run(name, rows)

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Translate the driver's faults; nothing more is said on a connection that broke."""
        try:
            with translated():
                yield
        except Broken:
            self._link.drop()
            raise

    async def _was_kept(self) -> bool:
        """Whether the transaction is durable whose commit got no answer."""
        self._link.drop()
        if self._writer_id is None:
            return False
        while True:
            try:
                found = await self._once("count_commits", [(self._writer_id,)])
            except (TransactionLost, StoreUnavailable) as fault:
                if self._link.closing:
                    raise StoreUnavailable(f"what became of the last commit is not known: {fault}") from fault
                await self._link.pause(_UNKNOWN_PAUSE_S)
            else:
                return bool(found) and msgspec.convert(found[0][0], int) > self._commits
