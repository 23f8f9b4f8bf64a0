"""Fills a store with tasks that have ended, without a call for each: a history."""

import argparse
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import uvloop

from bench.opened import create
from bench.script import Wish, answer_body, request_body

PAGE: Final = 50_000
_SQL: Final = Path(__file__).parent / "sql"
_BODY: Final = 512


def ended_id(number: int) -> str:
    """The id of the task of that number: ended_tasks.sql makes the same."""
    return f"01800000-{number // 65536:04x}-7000-8000-{number:012x}"


def fill(path: Path, tasks: int, owners: int, age_s: int) -> None:
    """That many completed tasks, numbered from 0, each with its attempt, into a store that is there; they ended so long ago."""
    texts = [(_SQL / f"{name}.sql").read_text(encoding="utf-8") for name in ("ended_tasks", "ended_attempts")]
    same = {
        "ended_at": time.time_ns() // 1000 - age_s * 1_000_000,
        "owners": owners,
        "request": request_body(Wish(1), size=_BODY),
        "response": answer_body(1, size=_BODY),
    }
    with closing(sqlite3.connect(path)) as database:
        for first in range(0, tasks, PAGE):
            page = {**same, "first": first, "last": min(first + PAGE, tasks) - 1}
            for text in texts:
                database.execute(text, page)
            database.commit()


def main() -> None:
    """Fill one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    for flag, kind in (("--database", Path), ("--tasks", int), ("--owners", int), ("--age-s", int)):
        parser.add_argument(flag, type=kind, required=True)
    options = parser.parse_args()
    uvloop.run(create(options.database))
    fill(options.database, options.tasks, options.owners, options.age_s)


if __name__ == "__main__":
    main()
