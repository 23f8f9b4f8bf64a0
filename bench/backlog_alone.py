"""Enqueue, claim on a store with a backlog, each timed by the process's own CPU."""

import argparse
import asyncio
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench.opened import Opened, opened
from bench.records import claim, completion, task

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


class _Spent:
    """CPU seconds, wall seconds of all that ran inside it."""

    def __init__(self) -> None:
        self.cpu_s = self.wall_s = 0.0

    async def on(self, work: Coroutine[None, None, None]) -> None:
        """Run, add."""
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        await work
        self.cpu_s += time.process_time() - cpu_s
        self.wall_s += time.perf_counter() - wall_s


async def _round(path: Path, tasks: int, rank: float) -> BacklogRound:
    """Waves, so that the backlog stays as large as it is."""
    enqueueing, claiming = _Spent(), _Spent()
    async with opened(path) as store:
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
    for flag, kind in (("--database", Path), ("--tasks", int), ("--rank", float)):
        parser.add_argument(flag, type=kind, required=True)
    options = parser.parse_args()
    done = uvloop.run(_round(options.database, options.tasks, options.rank))
    sys.stdout.write(msgspec.json.encode(done).decode() + "\n")


if __name__ == "__main__":
    main()
