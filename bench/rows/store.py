"""The store alone: how many durable calls a second it takes from 64 callers."""

import importlib.resources
from typing import Final

import msgspec

from bench.effort import Effort
from bench.fleet import Fleet
from bench.report import Figure, ratios
from bench.store_alone import StoreRound

NAME: Final = "store alone"
CALLERS: Final = 64
_LIMIT: Final = "bare sqlite3 driver"


class _DriverRound(msgspec.Struct):
    calls: int
    seconds: float
    cpu_s: float


async def measure(fleet: Fleet, effort: Effort) -> list[Figure]:
    """Each round in a process of its own, on its own database: both grow alike."""
    ours, limit, batches, cpu, bare_cpu = [], [], [], [], []
    for _ in range(effort.rounds):
        done = _ours(fleet, effort.store_s)
        ours.append(done.calls / done.seconds)
        batches.append(2 * done.calls / done.transactions)
        bare = _bare(fleet, done.half_batch, effort.store_s)
        limit.append(bare.calls / bare.seconds)
        cpu.append(done.cpu_s * 1e6 / done.calls)
        bare_cpu.append(bare.cpu_s * 1e6 / bare.calls)
    return [
        Figure(
            row=NAME,
            name="insert + complete",
            unit="calls/s",
            values=ours,
            limit=limit,
            limit_name=_LIMIT,
            target=15_000,
            at_least=True,
        ),
        Figure(row=NAME, name=f"of the {_LIMIT}", unit="x", values=ratios(ours, limit), target=0.7, at_least=True),
        Figure(row=NAME, name="CPU a call", unit="µs", values=cpu, limit=bare_cpu, limit_name=_LIMIT),
        Figure(row=NAME, name="operations a commit", unit="", values=batches),
    ]


def _ours(fleet: Fleet, seconds: float) -> StoreRound:
    command = [
        "-m",
        "bench.store_alone",
        "--database",
        "store.db",
        "--callers",
        str(CALLERS),
        "--seconds",
        str(seconds),
    ]
    return msgspec.json.decode(fleet.run("store", command), type=StoreRound)


def _bare(fleet: Fleet, half: int, seconds: float) -> _DriverRound:
    sql = importlib.resources.files("inferpool.store") / "sql" / "sqlite"
    command = ["-m", "bench.limits.driver", "--database", "driver.db", "--sql", str(sql), "--half", str(half)]
    return msgspec.json.decode(fleet.run("driver", [*command, "--seconds", str(seconds)]), type=_DriverRound)
