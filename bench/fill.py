"""Makes a store with a backlog, faster than callers could: the store's own insert, 5 000 rows a transaction."""

import argparse
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import uvloop

from bench.opened import WallClock, create
from bench.records import new_id
from bench.script import Wish, request_body
from inferpool.store.connection import Row
from inferpool.store.sqlite_connection import SqliteConnection, connect

PAGE: Final = 5_000
_DAY_US: Final = 86_400_000_000


async def fill(path: Path, tasks: int, flows: int, pool: str) -> None:
    """That many pending tasks of the pool, the owners in turn."""
    await create(path)
    connection = connect(path, WallClock())
    rows = _rows(tasks, flows, pool)
    while page := list(islice(rows, PAGE)):
        await _insert(connection, page)
    connection.close()


async def _insert(connection: SqliteConnection, page: list[Row]) -> None:
    await connection.begin()
    await connection.write("enqueue", page)
    await connection.commit()


def _rows(tasks: int, flows: int, pool: str) -> Iterator[Row]:
    """The rows in the order of their ranks, as fairness would have them wait."""
    for number in range(tasks):
        body = request_body(Wish(number), size=512)
        now = time.time_ns() // 1000
        yield (
            *(new_id(), f"pool:{pool}", pool, None, pool, None, "chat/completions", 0, "default"),
            *(float(number // flows + 1) / 4, f"owner-{number % flows:04}", None, "wait", 3, "{}"),
            *(now, now, now + _DAY_US, _DAY_US, len(body), "application/json", "{}", body),
            *("pending", 0, None, None, None, None, None, None),
        )


def main() -> None:
    """Fill one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    for flag, kind in (("--database", Path), ("--tasks", int), ("--flows", int), ("--pool", str)):
        parser.add_argument(flag, type=kind, required=True)
    options = parser.parse_args()
    uvloop.run(fill(options.database, options.tasks, options.flows, options.pool))


if __name__ == "__main__":
    main()
