"""Brings a database's schema up to this release, or refuses one that a newer release has claimed."""

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

import msgspec

from inferpool.core.errors import StoreUnavailable
from inferpool.store.connection import Connection
from inferpool.store.rows import APPLIED_MIGRATIONS

_HEADER: Final = "-- oldest release:"
_DIGITS: Final = re.compile(r"\d+")


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema. `oldest_release` is the oldest one whose code may still run after it."""

    number: int
    name: str
    oldest_release: str
    script: str


def load_migrations(dialect: str) -> list[Migration]:
    """The migrations of a dialect, in order: `store/sql/DIALECT/migrations/NNNN_what.sql`."""
    folder = files("inferpool.store") / "sql" / dialect / "migrations"
    return sorted(
        (read_migration(entry.name, entry.read_text("utf-8")) for entry in folder.iterdir()),
        key=lambda migration: migration.number,
    )


def read_migration(file_name: str, script: str) -> Migration:
    """A migration from its file; its first line says `-- oldest release: X.Y.Z`. Raises `ValueError` without one."""
    number, _, name = file_name.removesuffix(".sql").partition("_")
    header, _, _ = script.partition("\n")
    if not header.startswith(_HEADER):
        raise ValueError(f"{file_name} does not begin with {_HEADER!r}")
    return Migration(int(number), name, header.removeprefix(_HEADER).strip(), script)


async def migrate(connection: Connection, migrations: Sequence[Migration], release: str) -> None:
    """Apply what is missing, all of it in one transaction under the database's writing lock.

    Raises `StoreUnavailable` when the schema was made for newer releases than this one.
    """
    await connection.begin()
    try:
        await connection.write("create_migrations", [()])
        applied = await connection.read(APPLIED_MIGRATIONS, [()])
        check_release([one.oldest_release for one in applied], release)
        known = {one.number for one in applied}
        for step in migrations:
            if step.number not in known:
                await connection.script(step.script)
                await connection.write("record_migration", [(step.number, step.name, step.oldest_release)])
        await connection.commit()
    finally:
        await connection.rollback()


def check_release(oldest_releases: Sequence[str], release: str) -> None:
    """Raises `StoreUnavailable` when one of the applied migrations wants a newer release than this."""
    if not runs_on(oldest_releases, release):
        raise StoreUnavailable(
            f"the database was migrated for inferpool {newest(oldest_releases)} or newer; this is {release}: upgrade "
            "inferpool here, or use another database"
        )


def runs_on(oldest_releases: Sequence[str], release: str) -> bool:
    """Whether a release is new enough for each of these."""
    return all(_version(oldest) <= _version(release) for oldest in oldest_releases)


def newest(releases: Sequence[str]) -> str:
    """The newest of them; empty where there is none."""
    return max(releases, key=_version, default="")


async def check_store(connection: Connection, release: str) -> None:
    """Raises `StoreUnavailable` when this is no store, or one for newer releases."""
    try:
        applied = await connection.read(APPLIED_MIGRATIONS, [()])
    except StoreUnavailable as fault:
        raise StoreUnavailable(f"this is no inferpool store, or none that can be read ({fault})") from fault
    check_release([one.oldest_release for one in applied], release)


def _version(release: str) -> tuple[int, ...]:
    """Its numbers; what follows the digits of a part (`0rc1`, `0.dev3`) does not count."""
    return tuple(int(found[0]) for part in release.split(".") if (found := _DIGITS.match(part)))
