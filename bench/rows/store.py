"""The store alone: how many durable calls a second it takes from 64 callers."""

import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.effort import Effort
from bench.fleet import Fleet
from bench.report import Figure, ratios
from bench.store_alone import StoreRound

NAME: Final = "store alone"
CALLERS: Final = 64


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A store beside the bare driver of its database, each on a database of its own."""

    row: str
    database: str
    limit: Sequence[str]
    """The module with its flags; it takes `--half`, `--seconds` too."""
    limit_name: str


class _DriverRound(msgspec.Struct):
    calls: int
    seconds: float
    cpu_s: float


class Seen(msgspec.Struct):
    """A value a round, each beside the one that followed it."""

    calls_s: list[float] = []
    bare_calls_s: list[float] = []
    cpu_us: list[float] = []
    bare_cpu_us: list[float] = []
    operations: list[float] = []
    """A commit."""


async def measure(fleet: Fleet, effort: Effort) -> list[Figure]:
    """The SQLite store."""
    command = ["bench.limits.driver", "--database", "driver.db", "--sql", str(sql_folder("sqlite"))]
    match = Match(row=NAME, database="store.db", limit=command, limit_name="bare sqlite3 driver")
    seen = Seen()
    for _ in range(effort.rounds):
        play_bare(fleet, match, play_ours(fleet, match, effort.store_s, seen), seen)
    return figures(match, seen)


def sql_folder(dialect: str) -> Path:
    """The store's own statements: what the bare driver says too."""
    return Path(str(importlib.resources.files("inferpool.store") / "sql" / dialect))


def play_ours(fleet: Fleet, match: Match, seconds: float, seen: Seen) -> StoreRound:
    """One round of ours in a process of its own."""
    command = ["-m", "bench.store_alone", "--database", match.database, "--callers", str(CALLERS)]
    ours = msgspec.json.decode(fleet.run("store", [*command, "--seconds", str(seconds)]), type=StoreRound)
    seen.calls_s.append(ours.calls / ours.seconds)
    seen.cpu_us.append(ours.cpu_s * 1e6 / ours.calls)
    seen.operations.append(2 * ours.calls / ours.transactions)
    return ours


def play_bare(fleet: Fleet, match: Match, ours: StoreRound, seen: Seen) -> None:
    """One round of the bare driver with the batches of ours, as long: both databases grow alike."""
    command = ["-m", *match.limit, "--half", str(ours.half_batch), "--seconds", str(ours.seconds)]
    bare = msgspec.json.decode(fleet.run("driver", command), type=_DriverRound)
    seen.bare_calls_s.append(bare.calls / bare.seconds)
    seen.bare_cpu_us.append(bare.cpu_s * 1e6 / bare.calls)


def figures(match: Match, seen: Seen) -> list[Figure]:
    """The rounds beside the targets."""
    row, name = match.row, match.limit_name
    part = ratios(seen.calls_s, seen.bare_calls_s)
    return [
        Figure(
            row=row,
            name="insert + complete",
            unit="calls/s",
            values=seen.calls_s,
            limit=seen.bare_calls_s,
            limit_name=name,
            target=15_000,
            at_least=True,
        ),
        Figure(row=row, name=f"of the {name}", unit="x", values=part, target=0.7, at_least=True),
        Figure(row=row, name="CPU a call", unit="µs", values=seen.cpu_us, limit=seen.bare_cpu_us, limit_name=name),
        Figure(row=row, name="operations a commit", unit="", values=seen.operations),
    ]
