"""Enqueue, claim on a store with a backlog, each timed by the process's own CPU."""

import argparse
import asyncio
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
import uvloop

from bench.backends import backends_cpu_s
from bench.opened import Opened, opened
from bench.records import claim, completion, task
from inferpool.settings import database

WAVE: Final = 256
"""Tasks enqueued, then claimed, before the next are."""
FREE: Final = 64
"""Slots that a claim fills."""


class BacklogRound(msgspec.Struct):
    """Microseconds of CPU a task, with seconds on the wall for all of them."""

    enqueue_us: float
    claim_us: float
    enqueue_s: float
    claim_s: float


class _Cpu:
    """CPU seconds of this process so far, with those of PostgreSQL's processes that serve the database."""

    def __init__(self, where: Path | str, postmaster: int | None) -> None:
        self._postmaster = postmaster
        self._database = "" if isinstance(where, Path) else urlsplit(where).path[1:]

    def __call__(self) -> float:
        theirs = 0.0 if self._postmaster is None else backends_cpu_s(self._postmaster, self._database)
        return time.process_time() + theirs


class _Spent:
    """CPU seconds, wall seconds of all that ran inside it."""

    def __init__(self, cpu: _Cpu) -> None:
        self._cpu = cpu
        self.cpu_s = self.wall_s = 0.0

    async def on(self, work: Coroutine[None, None, None]) -> None:
        """Run, add."""
        cpu_s, wall_s = self._cpu(), time.perf_counter()
        await work
        self.wall_s += time.perf_counter() - wall_s
        self.cpu_s += self._cpu() - cpu_s


class _Order(NamedTuple):
    where: Path | str
    tasks: int
    rank: float
    postmaster: int | None


async def _round(order: _Order) -> BacklogRound:
    """Waves, so that the backlog stays as large as it is."""
    where, tasks, rank, postmaster = order
    cpu = _Cpu(where, postmaster)
    enqueueing, claiming = _Spent(cpu), _Spent(cpu)
    async with opened(where) as store:
        await _enqueue(store, WAVE, rank)  # the first pages come from the disk
        await _claim(store, WAVE)
        for _ in range(0, tasks, WAVE):
            await enqueueing.on(_enqueue(store, WAVE, rank))
            await claiming.on(_claim(store, WAVE))
    done = -(-tasks // WAVE) * WAVE
    return BacklogRound(enqueueing.cpu_s * 1e6 / done, claiming.cpu_s * 1e6 / done, enqueueing.wall_s, claiming.wall_s)


async def _enqueue(opened_store: Opened, tasks: int, rank: float) -> None:
    for start in range(0, tasks, FREE):
        owners = [f"owner-{number % 1000:04}" for number in range(start, min(tasks, start + FREE))]
        await asyncio.gather(*(opened_store.pair.store.enqueue(task(owner, rank), None) for owner in owners))


async def _claim(opened_store: Opened, tasks: int) -> None:
    """Claim that many, a worker's slots at a time; complete those before, as a worker would."""
    store, session_id = opened_store.pair.store, opened_store.session_id
    claimed = 0
    while claimed < tasks:
        got = await store.claim(claim(session_id, min(FREE, tasks - claimed)))
        if not got:
            raise RuntimeError(f"nothing to claim after {claimed} of {tasks} tasks")
        claimed += len(got)
        ends = [completion(one.task_id, session_id) for one in got if one.attempt == 1]
        await asyncio.gather(*(store.complete(end) for end in ends))


def main() -> None:
    """Run one round, print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    for flag, kind in (("--database", database), ("--tasks", int), ("--rank", float)):
        parser.add_argument(flag, type=kind, required=True)
    parser.add_argument("--postmaster", type=int, help="the first process of a PostgreSQL of this machine")
    options = parser.parse_args()
    done = uvloop.run(_round(_Order(options.database, options.tasks, options.rank, options.postmaster)))
    sys.stdout.write(msgspec.json.encode(done).decode() + "\n")


if __name__ == "__main__":
    main()
