"""The one border where the faults of PostgreSQL, or of its driver, become ours.

A message quotes what the server says in one line, never its details: those hold rows, so prompts. SQLSTATE codes are those
of PostgreSQL's documentation, appendix A.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from inferpool.core.errors import Conflict, InvalidRequest, StoreUnavailable
from inferpool.store.connection import RowRefused, TransactionLost

POOLED: Final = (
    "it is reached through a pooler that lends connections by the transaction: give the address of the server itself, or "
    "of a pooler in session mode"
)

AWAY: Final = ("08", "53300", "57P")
"""A server that cannot be reached, takes no more connections at the moment, comes or goes."""

_TAKEN: Final = "23505"
_UNSTORABLE: Final = ("22", "23", "54")
"""Classes: data exceptions, broken constraints, limits of the program (an index row that is too long)."""
_AGAIN: Final = ("40", "55P03")
"""A deadlock, a lock that was not to be had in time."""
_BROKEN: Final = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "0A000")
"""A broken connection, a server that goes or comes, a transaction that stood still for too long, a plan that a migration made
worthless."""
_UNABLE: Final = (
    "25006",
    "3D",
    "28",
    "42703",
    "42883",
    "42P01",
    "42P07",
    "42710",
    "42723",
    "53",
    "57014",
    "57P04",
    "58",
    "F0",
    "XX",
)
"""A standby, a missing table, one of somebody else's by the same name, a full disk, a statement that took too long, a damaged file."""
_FULL: Final = "53100"
_LINE: Final = re.compile(r"COPY [^,]+, \D+(\d+)(?:, \S+ (\w+))?")
_FORBIDDEN: Final = "42501"
_GRANT: Final = (
    "as the database's owner, GRANT CREATE ON SCHEMA public TO the role of the servers (or make it the owner)"
)
_POOLED: Final = ("26000", "42P05")
"""A prepared statement that is not there, or is there already, since it belongs to another's connection."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's faults into ours.

    Raises `RowRefused` for a row that can never be stored, `TransactionLost` for what may be made again,
    `StoreUnavailable` for a database that cannot work now.
    """
    try:
        yield
    except asyncpg.PostgresError as fault:
        _raise(fault)
    except asyncpg.InterfaceError as fault:
        _raise_client(fault)
    except (OSError, asyncpg.InternalClientError) as fault:
        # A command that timed out is one of these (TimeoutError): what became of it nobody knows.
        raise Broken(f"the connection to the database broke: {_first_line(fault)}") from fault


class Broken(TransactionLost):
    """The connection is of no use any more."""


def told(fault: asyncpg.PostgresError) -> str:
    """What the server says, in one line without its details; what the driver says quotes values, so it is not told."""
    return _first_line(fault.args[0]) if fault.severity else "a value does not fit its column"


def copied_line(fault: BaseException | None) -> tuple[int, str] | None:
    """Which of the rows of a COPY the server refused, from 1, with the column where it names one; None: it does not tell.

    The server says `COPY tasks, line 3, column owner`, in its own language.
    """
    said = _LINE.match(str(getattr(fault, "context", None) or ""))
    return (int(said[1]), said[2] or "") if said else None


def matches(fault: asyncpg.PostgresError, codes: tuple[str, ...]) -> bool:
    """Whether the fault's SQLSTATE is one of these, or of one of these classes."""
    return str(fault.sqlstate).startswith(codes)


def _raise(fault: asyncpg.PostgresError) -> None:
    said = told(fault)
    if matches(fault, _AGAIN):
        raise TransactionLost(said) from fault
    if matches(fault, _BROKEN):
        raise Broken(said) from fault
    if matches(fault, _POOLED):
        raise Broken(POOLED) from fault
    if matches(fault, _UNSTORABLE):
        refusal = Conflict(f"it exists already: {said}") if fault.sqlstate == _TAKEN else None
        raise RowRefused(refusal or InvalidRequest(f"it cannot be stored: {said}")) from fault
    if fault.sqlstate == _FORBIDDEN:
        raise StoreUnavailable(f"the database cannot work: {said}: {_GRANT}") from fault
    if matches(fault, _UNABLE):
        remedy = "; make room on its disk" if fault.sqlstate == _FULL else ""
        raise StoreUnavailable(f"the database cannot work: {said}{remedy}") from fault
    raise fault


def _raise_client(fault: asyncpg.InterfaceError) -> None:
    """The driver's own refusal to use a connection that is closed; any other is a defect of ours."""
    if "closed" in str(fault):
        raise Broken("the connection to the database is closed") from fault
    raise fault


def _first_line(what: object) -> str:
    return str(what).partition("\n")[0] or type(what).__name__
