"""The store without a server around it: callers that insert already claimed tasks, then complete them."""

import argparse
import asyncio
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from bench.opened import Opened, opened
from bench.records import completion, slot, task
from inferpool.settings import database
from inferpool.store.protocol import Verdict


class StoreRound(msgspec.Struct):
    """What a round did."""

    calls: int
    seconds: float
    cpu_s: float
    transactions: int
    """Of those calls: each has two operations."""

    @property
    def half_batch(self) -> int:
        """Inserts a transaction, about as many completions."""
        return max(1, round(self.calls / self.transactions))


async def _round(where: Path | str, callers: int, seconds: float) -> StoreRound:
    async with opened(where) as store:
        transactions = store.transactions
        began, spent = time.perf_counter(), time.process_time()
        end = began + seconds
        done = await asyncio.gather(*(_calls(store, end) for _ in range(callers)))
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - spent
        return StoreRound(sum(done), seconds, cpu_s, store.transactions - transactions)


async def _calls(opened_store: Opened, end: float) -> int:
    store, session_id = opened_store.pair.store, opened_store.session_id
    calls = 0
    while time.perf_counter() < end:
        enqueued = await store.enqueue(task(), slot(session_id))
        settled = await store.complete(completion(enqueued.task_id, session_id))
        if settled.verdict is not Verdict.DONE:
            raise RuntimeError(f"a completion was {settled.verdict}")
        calls += 1
    return calls


def main() -> None:
    """Run one round, print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", type=database, required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    done = uvloop.run(_round(options.database, options.callers, options.seconds))
    sys.stdout.write(msgspec.json.encode(done).decode() + "\n")


if __name__ == "__main__":
    main()
