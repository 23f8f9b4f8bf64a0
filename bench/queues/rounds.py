"""A round of jobs through another queue: producers that wait until their job was run before they make the next."""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from bench.backends import whole_cpu_s

PRODUCERS: Final = 64


class Waiting:
    """Who waits for which job."""

    def __init__(self) -> None:
        self._jobs: dict[int, asyncio.Event] = {}

    def expect(self, number: int) -> asyncio.Event:
        """Set when the job of that number was run."""
        return self._jobs.setdefault(number, asyncio.Event())

    def done(self, number: int) -> None:
        """The job was run: whoever waits goes on."""
        self._jobs.pop(number).set()


def read_flags(what: str | None) -> argparse.Namespace:
    """The database, how many jobs a round has."""
    parser = argparse.ArgumentParser(description=what)
    for flag, kind in (("database", str), ("jobs", int)):
        parser.add_argument(f"--{flag}", type=kind, required=True)
    parser.add_argument("--postmaster", type=int, help="the first process of a PostgreSQL of this machine")
    return parser.parse_args()


async def play(options: argparse.Namespace, waiting: Waiting, enqueue: Callable[[int], Awaitable[object]]) -> str:
    """Make a few jobs, then those that count, wait for each; gives what the row reads."""
    jobs: int = options.jobs
    await _all(range(jobs, jobs + jobs // 4), waiting, enqueue)
    began, spent, database = time.perf_counter(), time.process_time(), _database_s(options)
    await _all(range(jobs), waiting, enqueue)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - spent
    said = {"jobs": jobs, "seconds": seconds, "cpu_s": cpu_s, "database_s": _database_s(options) - database}
    return json.dumps(said)


def _database_s(options: argparse.Namespace) -> float:
    return 0.0 if options.postmaster is None else whole_cpu_s(options.postmaster)


async def _all(numbers: range, waiting: Waiting, enqueue: Callable[[int], Awaitable[object]]) -> None:
    turns = iter(numbers)
    await asyncio.gather(*(_produce(turns, waiting, enqueue) for _ in range(PRODUCERS)))


async def _produce(numbers: Iterator[int], waiting: Waiting, enqueue: Callable[[int], Awaitable[object]]) -> None:
    for number in numbers:
        run = waiting.expect(number)
        await enqueue(number)
        await run.wait()
