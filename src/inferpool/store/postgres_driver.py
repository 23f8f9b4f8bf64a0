"""An open connection to PostgreSQL with the statements that it has prepared."""

import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg
import msgspec
from asyncpg.prepared_stmt import PreparedStatement

from inferpool.core.errors import StoreUnavailable
from inferpool.store.connection import Row, TransactionLost
from inferpool.store.postgres_faults import AWAY, matches, told, translated
from inferpool.store.statements import load_statements

OLDEST: Final = 14
"""The oldest major version of the server that the statements run on."""

_Types: TypeAlias = tuple[list[asyncpg.Record], object]
_KNOWN: Final[dict[frozenset[int], _Types]] = {}
"""Built-in types alone: their numbers are the same on every server."""

Values: TypeAlias = tuple[object, ...]
Prepared: TypeAlias = "tuple[PreparedStatement[asyncpg.Record], bool]"
"""A statement, with whether it takes columns."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds a wait for the database, in seconds."""

    connect_s: float = 5.0
    patience_s: float = 10.0
    """How long an operation waits for a database that is away, counted from when that was first seen."""
    statement_s: float = 15.0
    """A statement that takes longer is ended by the server."""
    margin_s: float = 3.0
    """A server that has not answered even so long after that is gone."""
    lock_s: float = 5.0
    idle_s: float = 10.0
    """A transaction that stands still for so long is undone: its server is gone."""


class Address(msgspec.Struct, frozen=True):
    """Where the database is, how its connections are set up. Each is marked with the `mark`, none else is."""

    url: str
    timeouts: Timeouts
    mark: str = ""
    reads_only: bool = False

    @property
    def place(self) -> str:
        """The address for a person to read."""
        return place_of(self.url)


def place_of(url: str) -> str:
    """The URL of a database for a person to read: without its user, without its password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", ["the local socket"])[0]
    return host + parts.path


class _Connection(asyncpg.Connection):
    """The driver's connection, which need not ask each time anew what the arrays of built-in types are.

    Its question takes the server 40 ms for the first connection, or transaction, of each kind (measured). Where a later
    driver no longer asks by this method, nothing is lost but that time.
    """

    async def _introspect_types(self, typeoids: Iterable[int], timeout: float | None) -> _Types:
        wanted = frozenset(typeoids)
        if wanted in _KNOWN:
            return _KNOWN[wanted]
        ask: Callable[[_Connection, list[int], float | None], Awaitable[_Types]]
        ask = vars(asyncpg.Connection)["_introspect_types"]
        _KNOWN[wanted] = await ask(self, list(wanted), timeout)
        return _KNOWN[wanted]


class Driver:
    """Runs named statements on one connection."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._texts = load_statements("postgres")
        self._prepared: dict[str, Prepared] = {}

    @property
    def closed(self) -> bool:
        """Whether it is of no use any more."""
        return self._connection.is_closed()

    async def run(self, name: str, rows: Sequence[Row]) -> list[Values]:
        """Run a named statement: once over the columns of the rows if it takes arrays, else for each row."""
        statement, takes_columns = self._prepared.get(name) or await self._prepare(name)
        if takes_columns:
            return [tuple(record) for record in await statement.fetch(*zip(*rows, strict=True))]
        return [tuple(record) for row in rows for record in await statement.fetch(*row)]

    async def command(self, name: str) -> None:
        """Run a named statement that takes nothing, gives nothing, in one round trip."""
        await self._connection.execute(self._texts[name])

    async def script(self, text: str) -> None:
        """Run statements that take nothing, give nothing."""
        await self._connection.execute(text)

    async def load(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Write whole rows into a table, in one stream."""
        await self._connection.copy_records_to_table(table, records=rows, columns=columns)

    @property
    def process(self) -> int:
        """The number of the server's process at the other end."""
        return self._connection.get_server_pid()

    async def listen(self, channel: str, hear: Callable[[str], None]) -> None:
        """Hear what is sent on a channel, in turns of the event loop of their own, whenever no transaction is open."""
        await self._connection.add_listener(channel, partial(_heard, hear))

    def when_ended(self, ended: Callable[[], None]) -> None:
        """Be told, in a turn of the event loop of its own, that the connection has ended, whoever ended it."""
        self._connection.add_termination_listener(partial(_ended, ended))

    def drop(self) -> None:
        """Close the connection at once, whatever it does."""
        self._connection.terminate()

    async def _prepare(self, name: str) -> Prepared:
        statement = await self._connection.prepare(self._texts[name])
        kinds = {parameter.kind for parameter in statement.get_parameters()}
        self._prepared[name] = statement, kinds == {"array"}
        return self._prepared[name]


def _heard(hear: Callable[[str], None], _connection: object, _process: int, _channel: str, text: object) -> None:
    hear(str(text))


def _ended(ended: Callable[[], None], _connection: object) -> None:
    ended()


async def connect(address: Address) -> Driver:
    """A new connection with its settings.

    Raises `TransactionLost` when the database is away at the moment, `StoreUnavailable` when it is there but of no use.
    """
    driver = Driver(await _opened(address))
    try:
        with translated():
            [server] = await driver.run("set_up", [_settings(address)])
        number, version, takes_no_writes = msgspec.convert(server[:3], tuple[int, str, bool])
        check(address, number, version, takes_no_writes=takes_no_writes)
    except BaseException:
        driver.drop()
        raise
    return driver


def _settings(address: Address) -> Row:
    times = address.timeouts
    limits = [str(int(seconds * 1000)) for seconds in (times.statement_s, times.lock_s, times.idle_s)]
    return (*limits, "on" if address.reads_only else "off", address.mark)


async def _opened(address: Address) -> "asyncpg.Connection[asyncpg.Record]":
    times = address.timeouts
    try:
        return await asyncpg.connect(
            address.url,
            timeout=times.connect_s,
            command_timeout=times.statement_s + times.margin_s,
            connection_class=_Connection,
        )
    except asyncpg.PostgresError as fault:
        if matches(fault, AWAY):
            raise TransactionLost(told(fault)) from fault
        raise StoreUnavailable(f"PostgreSQL at {address.place} refuses the connection: {_remedy(fault)}") from fault
    except ssl.SSLError as fault:
        raise StoreUnavailable(f"PostgreSQL at {address.place}: no secure connection: {fault}") from fault
    except TimeoutError as fault:
        raise TransactionLost(f"no answer within {times.connect_s:g} s") from fault
    except (OSError, asyncpg.InternalClientError) as fault:
        raise TransactionLost(str(fault)) from fault
    except (asyncpg.InterfaceError, ValueError) as fault:
        raise StoreUnavailable(f"the database's URL cannot be used: {fault}") from fault


_REMEDIES: Final = {
    "28P01": "correct the password in the URL (or in PGPASSWORD, or in ~/.pgpass)",
    "28000": "create the role, or let it in by pg_hba.conf",
    "3D000": "create the database, or correct its name in the URL",
    "42501": "GRANT CONNECT on the database to its user",
}


def _remedy(fault: asyncpg.PostgresError) -> str:
    remedy = _REMEDIES.get(str(fault.sqlstate))
    return told(fault) if remedy is None else f"{told(fault)}: {remedy}"


def check(address: Address, number: int, version: str, *, takes_no_writes: bool) -> None:
    """Raises `StoreUnavailable` for a server of a version that is too old, or one that takes no writes."""
    if number < OLDEST * 10_000:
        raise StoreUnavailable(
            f"PostgreSQL at {address.place} is {version}: inferpool needs {OLDEST} or newer, upgrade it"
        )
    if takes_no_writes:
        raise StoreUnavailable(
            f"PostgreSQL at {address.place} takes no writes (a standby, or set to read-only): give the primary's address"
        )
