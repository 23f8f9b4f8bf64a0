"""Tells an operator what a store is: its schema, its size, roughly what stands in it."""

from collections.abc import Sequence
from typing import Final

import msgspec

from inferpool.core.clock import Micros
from inferpool.core.errors import StoreUnavailable
from inferpool.store.connection import Connection
from inferpool.store.migrate import load_migrations, newest, runs_on
from inferpool.store.rows import APPLIED_MIGRATIONS, Applied
from inferpool.store.statements import Statement

BOUND: Final = 1000
"""Rows that are counted of each kind; there are fewer than ten kinds."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One migration. `applied_at`: in microseconds since 1970 UTC; None: this release has it, the store does not yet."""

    number: int
    name: str
    oldest_release: str
    applied_at: Micros | None
    known: bool
    """Whether this release has it."""


class Amount(msgspec.Struct, frozen=True):
    """How many there are of one kind; not `exact`: so many or more."""

    name: str
    size: int
    exact: bool


class StoreStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What one look tells. `engine`: the kind of database with its version; `size`: bytes, without a log beside the file."""

    engine: str
    size: int
    steps: list[Step]
    oldest_release: str
    """The oldest release that may run on it."""
    runs: bool
    """Whether this one may."""
    amounts: list[Amount]
    """Empty where this release cannot count, since migrations are missing or too many."""


class _Text(msgspec.Struct, frozen=True):
    version: str


class Size(msgspec.Struct, frozen=True):
    """How much there is of something."""

    size: int


class Counted(msgspec.Struct, frozen=True):
    """How many rows something has."""

    name: str
    size: int


_ENGINE: Final = Statement("engine_version", _Text)
_BYTES: Final = Statement("bytes_on_disk", Size)
_AMOUNTS: Final = Statement("some_counts", Counted)
_NAMES: Final = {"sqlite": "SQLite", "postgres": "PostgreSQL"}


async def look(connection: Connection, dialect: str, release: str, bound: int = BOUND) -> StoreStatus:
    """What the store is; of each kind at most `bound` rows are counted. Raises `StoreUnavailable` when there is none, or it cannot be read."""
    [engine] = await connection.read(_ENGINE, [()])
    try:
        applied = await connection.read(APPLIED_MIGRATIONS, [()])
    except StoreUnavailable as fault:
        raise StoreUnavailable(
            f"there is no inferpool store ({fault}); `inferpool database migrate` makes one of an empty database"
        ) from fault
    steps = steps_of(applied, dialect)
    runs = runs_on([one.oldest_release for one in applied], release)
    ready = runs and all(step.applied_at is not None for step in steps)
    [size] = await connection.read(_BYTES, [()])
    return StoreStatus(
        engine=f"{_NAMES[dialect]} {engine.version}",
        size=size.size,
        steps=steps,
        oldest_release=newest([one.oldest_release for one in applied]),
        runs=runs,
        amounts=await _amounts(connection, bound) if ready else [],
    )


def steps_of(applied: Sequence[Applied], dialect: str) -> list[Step]:
    """The migrations that a schema has had, then those of this release that it still waits for."""
    known = {step.number: step for step in load_migrations(dialect)}
    had = [
        Step(
            number=one.number,
            name=one.name,
            oldest_release=one.oldest_release,
            applied_at=one.applied_at,
            known=one.number in known,
        )
        for one in applied
    ]
    waiting = sorted(known.keys() - {one.number for one in applied})
    return had + [
        Step(
            number=number,
            name=known[number].name,
            oldest_release=known[number].oldest_release,
            applied_at=None,
            known=True,
        )
        for number in waiting
    ]


async def applied_steps(connection: Connection, dialect: str) -> list[Step]:
    """The migrations that a database has had: none where it is no store. Raises `StoreUnavailable` when it cannot be asked."""
    await connection.read(_ENGINE, [()])
    try:
        applied = await connection.read(APPLIED_MIGRATIONS, [()])
    except StoreUnavailable:
        return []
    return [step for step in steps_of(applied, dialect) if step.applied_at is not None]


async def _amounts(connection: Connection, bound: int) -> list[Amount]:
    counted = await connection.read(_AMOUNTS, [(bound + 1,)])
    return [Amount(one.name, min(one.size, bound), one.size <= bound) for one in counted]
