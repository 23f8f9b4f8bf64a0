"""Runs the benchmark: `python -m bench`."""

import argparse
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, TypeAlias

import msgspec
import uvloop
from rich.console import Console

from bench.effort import FULL, QUICK, Effort
from bench.fleet import Fleet
from bench.machine import ALL_CORES, check_disk, on_cores, other_cores, sync_times
from bench.postgres import Postgres, running
from bench.profile import Profile, print_profile, profile
from bench.report import Figure, Report, load, markdown, print_report
from bench.rows import (
    backlog,
    call,
    chunk,
    latency,
    memory,
    postgres_across,
    postgres_backlog,
    postgres_call,
    postgres_queues,
    postgres_reads,
    postgres_servers,
    postgres_store,
    restart,
    store,
    sweep,
)

Row: TypeAlias = Callable[[Fleet, Effort], Awaitable[list[Figure]]]
PostgresRow: TypeAlias = Callable[[Fleet, Effort, Postgres], Awaitable[list[Figure]]]
ROWS: Final[Mapping[str, Row]] = {
    "call": call.measure,
    "chunk": chunk.measure,
    "latency": latency.measure,
    "store": store.measure,
    "backlog": backlog.measure,
    "sweep": sweep.measure,
    "restart": restart.measure,
    "memory": memory.measure,
}
POSTGRES_ROWS: Final[Mapping[str, PostgresRow]] = {
    "postgres-call": postgres_call.measure,
    "postgres-store": postgres_store.measure,
    "postgres-servers": postgres_servers.measure,
    "postgres-across": postgres_across.measure,
    "postgres-queues": postgres_queues.measure,
    "postgres-backlog": postgres_backlog.measure,
    "postgres-reads": postgres_reads.measure,
}
RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Measure the chosen rows; 1 when one of them misses its target by more than a third."""
    options = _options()
    if options.table:
        print(markdown(load(options.table)))
        return 0
    signal.signal(signal.SIGTERM, _leave)
    folder: Path = options.folder.resolve() / f"run-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        if options.profile:
            for one in uvloop.run(_profile(folder, _effort(options), options.profile)):
                print_profile(one)
            return 0
        report = uvloop.run(_run(folder, options.only or [*ROWS, *POSTGRES_ROWS], _effort(options)))
    finally:
        if not options.keep:
            shutil.rmtree(folder)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{report.began}.json"
    report.save(path)
    print_report(report, Console(width=None if sys.stdout.isatty() else 180))
    print(f"written to bench/results/{path.name}")
    return int(any(figure.off > 1 / 3 for figure in report.figures))


async def _run(folder: Path, names: list[str], effort: Effort) -> Report:
    report = _begin(folder)
    with Fleet(folder) as fleet, on_cores(other_cores()):
        for name in (one for one in ROWS if one in names):
            with _told(report, folder, name):
                report.figures += await ROWS[name](fleet, effort)
        chosen = [one for one in POSTGRES_ROWS if one in names]
        if chosen:
            await _run_on_postgres(report, fleet, chosen, effort)
    return report


async def _run_on_postgres(report: Report, fleet: Fleet, names: list[str], effort: Effort) -> None:
    with running(fleet.folder) as postgres:
        report.postgres = f"{await postgres.version()}, {postgres.origin}"
        for name in names:
            with _told(report, fleet.folder, name):
                report.figures += await POSTGRES_ROWS[name](fleet, effort, postgres)


@contextmanager
def _told(report: Report, folder: Path, name: str) -> Iterator[None]:
    """Between two rows: look at the disk, say what comes; note how long it took."""
    report.sync_ms += sync_times(folder)
    print(f"{name} …", file=sys.stderr, flush=True)
    began = time.perf_counter()
    yield
    report.took_s[name] = time.perf_counter() - began


async def _profile(folder: Path, effort: Effort, load: str) -> list[Profile]:
    with Fleet(folder) as fleet, on_cores(other_cores()):
        return await profile(fleet, effort, load)


def _begin(folder: Path) -> Report:
    return Report(
        began=time.strftime("%Y-%m-%dT%H-%M-%S"),
        disk=check_disk(folder),
        sync_ms=[],
        cores=len(ALL_CORES),
        load_before=os.getloadavg()[0],
        python=platform.python_version(),
    )


def _effort(options: argparse.Namespace) -> Effort:
    effort = QUICK if options.quick else FULL
    return msgspec.structs.replace(effort, rounds=options.rounds) if options.rounds else effort


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=[*ROWS, *POSTGRES_ROWS], help="measure this row alone (repeatable)"
    )
    parser.add_argument("--rounds", type=int, help="rounds of ours, each beside one of its limit")
    parser.add_argument("--quick", action="store_true", help="few small rounds: to see that it runs")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the databases go: on a disk, not in memory")
    parser.add_argument("--profile", choices=["call", "chunk"], help="where the time goes under that row's load")
    parser.add_argument("--table", type=Path, help="print a saved report as Markdown, measure nothing")
    parser.add_argument("--keep", action="store_true", help="leave the databases with the logs of every process there")
    return parser.parse_args()


def _leave(number: int, frame: FrameType | None) -> None:
    """A polite end goes the way of every failure: what was started is ended."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
