"""The limit of a wakeup between servers: bare LISTEN, NOTIFY there with back again, between two connections of asyncpg."""

import argparse
import asyncio
import json
import statistics
import time

import asyncpg
import uvloop

parser = argparse.ArgumentParser(description=__doc__)
for flag, kind in (("database", str), ("times", int)):
    parser.add_argument(f"--{flag}", type=kind, required=True)
options = parser.parse_args()


async def main() -> None:
    """One side notifies, the other answers; milliseconds of each round trip."""
    one, two = [await asyncpg.connect(options.database) for _ in range(2)]
    heard = {name: asyncio.Event() for name in ("there", "back")}
    for side, name in ((two, "there"), (one, "back")):
        await side.add_listener(name, lambda _connection, _pid, channel, _payload: heard[channel].set())
    took = []
    for _ in range(options.times):
        began = time.perf_counter()
        for side, name in ((one, "there"), (two, "back")):
            await side.execute("SELECT pg_notify($1, 'x')", name)
            await heard[name].wait()
            heard[name].clear()
        took.append((time.perf_counter() - began) * 1000)
    print(json.dumps({"p50_ms": statistics.median(took)}))


uvloop.run(main())
