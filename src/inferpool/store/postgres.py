"""The store that many servers share: one PostgreSQL database."""

import contextlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import msgspec

from inferpool.core.clock import SECOND, Micros
from inferpool.core.errors import StoreUnavailable
from inferpool.store.connection import TransactionLost
from inferpool.store.migrate import check_release, load_migrations, migrate
from inferpool.store.postgres_connection import PostgresConnection
from inferpool.store.postgres_driver import Address, Timeouts
from inferpool.store.postgres_faults import POOLED, translated
from inferpool.store.postgres_link import Link
from inferpool.store.postgres_signals import HASTY, PostgresSignals
from inferpool.store.reader import Desk, SqlReader
from inferpool.store.rows import APPLIED_MIGRATIONS
from inferpool.store.runners import LoopRunner, Runner
from inferpool.store.sql import SqlStore
from inferpool.store.statements import Statement
from inferpool.store.transaction import TRIES
from inferpool.store.writer import Writer

_DIALECT: Final = "postgres"
_MIGRATION_S: Final = 3600.0
"""How long a migration may take, or wait for that of another server."""


class _There(msgspec.Struct, frozen=True):
    there: bool


_IS_STORE: Final = Statement("is_store", _There)


DEAD_AFTER: Final[Micros] = 6 * SECOND
"""A server without a heartbeat for so long is dead (spec section 4)."""


class PostgresOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a store may be told beside its address."""

    release: str = version("inferpool")
    """The running code's release: migrations may ask for a newer one."""
    dead_after: Micros = DEAD_AFTER
    readers: int = 4
    """Connections that only read."""
    timeouts: Timeouts = Timeouts()


class PostgresReaders:
    """The connections that only read."""

    def __init__(self, links: Sequence[Link], dead_after: Micros) -> None:
        self._links = links
        self._runners = [LoopRunner() for _ in links]
        desks = [Desk(PostgresConnection(link), runner) for link, runner in zip(links, self._runners, strict=True)]
        self.reader = SqlReader(desks, dead_after)

    async def close(self) -> None:
        """Finish the reads that are under way, close the connections."""
        for link in self._links:
            link.hurry()
        for runner in self._runners:
            await runner.close()
        self.let_go()

    def let_go(self) -> None:
        """Close the connections at once."""
        for link in self._links:
            link.drop()


class PostgresPair:
    """An open store with its reader."""

    def __init__(self, link: Link, writer_id: str, readers: PostgresReaders, dead_after: Micros) -> None:
        self._link = link
        self._writer_id = writer_id
        self._connection = PostgresConnection(link, writer_id)
        self._runner: Runner = LoopRunner()
        self._readers = readers
        self._writer = Writer(self._connection, self._runner)
        self.store = SqlStore(self._writer, dead_after)
        self.reader = readers.reader
        self.signals = PostgresSignals(Address(link.address.url, HASTY, reads_only=True))

    async def close(self) -> None:
        """Flush what waits, close the connections."""
        self._link.hurry()
        await self._writer.close()
        self.signals.close()
        await self._readers.close()
        with contextlib.suppress(StoreUnavailable):
            # Where the database is away, another server forgets this writer tomorrow.
            await self._connection.write("retire", [(self._writer_id,)])
        self._connection.close()

    def abandon(self) -> None:
        """Drop what is not committed, as a crash would."""
        self._writer.abandon()
        self.signals.close()
        self._readers.let_go()
        self._connection.close()


async def open_postgres(url: str, *, writer_id: str, options: PostgresOptions | None = None) -> PostgresPair:
    """Open the database, migrated as needed; `writer_id` is new at each start.

    Raises `StoreUnavailable`, in one line that names the remedy, when that cannot be.
    """
    chosen = options or PostgresOptions()
    link = Link(Address(url, chosen.timeouts, mark=writer_id))
    looking = _readers(url, chosen)
    try:
        await _check_pooler(link, looking[0])
        await _migrate(looking[0], chosen)
    except BaseException:
        for one in (link, *looking):
            one.drop()
        raise
    return PostgresPair(link, writer_id, PostgresReaders(looking, chosen.dead_after), chosen.dead_after)


def connect_postgres_reader(url: str, timeouts: Timeouts | None = None) -> PostgresConnection:
    """A connection that only looks, made when it is first used."""
    return PostgresConnection(Link(Address(url, timeouts or Timeouts(), reads_only=True)))


def _readers(url: str, options: PostgresOptions) -> list[Link]:
    return [Link(Address(url, options.timeouts, reads_only=True)) for _ in range(options.readers)]


async def _migrate(looking: Link, options: PostgresOptions) -> None:
    """Bring the schema up where something is missing, on a connection of its own: that has prepared nothing yet."""
    if await _is_migrated(PostgresConnection(looking), options.release):
        return None
    patient = msgspec.structs.replace(options.timeouts, statement_s=_MIGRATION_S, lock_s=_MIGRATION_S)
    link = Link(Address(looking.address.url, patient))
    why: TransactionLost | None = None
    try:
        for _ in range(TRIES):
            try:
                return await migrate(PostgresConnection(link), load_migrations(_DIALECT), options.release)
            except TransactionLost as lost:
                why = lost
    finally:
        link.drop()
    raise StoreUnavailable(f"the database cannot be migrated: {why}") from why


async def _is_migrated(connection: PostgresConnection, release: str) -> bool:
    """Whether there is nothing to do. Raises `StoreUnavailable` when the schema was made for newer releases."""
    [store] = await connection.read(_IS_STORE, [()])
    if not store.there:
        return False
    applied = await connection.read(APPLIED_MIGRATIONS, [()])
    check_release([one.oldest_release for one in applied], release)
    return {one.number for one in applied} >= {step.number for step in load_migrations(_DIALECT)}


async def _check_pooler(first: Link, second: Link) -> None:
    """Raises `StoreUnavailable` where one connection's settings are another's: prepared statements would be too."""
    one, other = await first.driver(), await second.driver()
    mark = first.address.mark
    with translated():
        await other.command("begin")
        [[seen]] = await other.run("see_mark", [()])
        kept = None if seen == mark else (await one.run("see_mark", [()]))[0][0]
        await other.command("rollback")
    if kept != mark:
        raise StoreUnavailable(f"PostgreSQL at {first.address.place}: {POOLED}")
