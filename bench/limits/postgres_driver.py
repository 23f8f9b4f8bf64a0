"""The limit of the store on PostgreSQL: asyncpg alone, with the same statements, rows, batches, nothing around them."""

import argparse
import json
import re
import time
from pathlib import Path

import asyncpg
import uvloop

parser = argparse.ArgumentParser(description=__doc__)
for flag, kind in (("database", str), ("sql", Path), ("half", int), ("seconds", float)):
    parser.add_argument(f"--{flag}", type=kind, required=True)
options = parser.parse_args()
texts = "".join((options.sql / f"{name}.sql").read_text() for name in ("connection", "enqueue", "endings"))
say = dict(re.findall(r"-- name: (\w+)\n(.*?)(?=-- name: |\Z)", texts, re.DOTALL))
task = ("pool:scripted", "scripted", None, "scripted", None, "chat/completions", 0, "default", 1.0, "local", None, "wait", 3,
    "{}", 1, 1, 9**17, 9, 1011, "application/json", "{}", b"x" * 1011, "claimed", 1, "s" * 36, "scripted@bench", "b" * 36)  # fmt: skip


async def main() -> None:
    """Insert claimed tasks, complete those of the batch before, commit, again."""
    database, held, calls, start = await asyncpg.connect(options.database), list[str](), 0, time.time_ns()
    await database.fetch(say["set_up"], "15000", "5000", "10000", "off", "")
    end, complete, enqueue = [await database.prepare(say[one]) for one in ("end_attempt", "complete", "enqueue")]
    began, spent = time.perf_counter(), time.process_time()
    while (seconds := time.perf_counter() - began) < options.seconds:
        now, new = time.time_ns() // 1000, [f"{start:020}-{calls + one:015}" for one in range(options.half)]
        gone = [(now, 200, "application/json", b"y" * 1026, 200, 200, one, 1, "s" * 36) for one in held or ("none",)]
        async with database.transaction():
            await end.fetch(*zip(*[(now, "completed", None, None, None, *one[-3:]) for one in gone], strict=True))
            await complete.fetch(*zip(*gone, strict=True))
            await enqueue.fetch(*zip(*[(one, *task, now, now, 0) for one in new], strict=True))
        held, calls = new, calls + len(new)
    print(json.dumps({"calls": calls, "seconds": seconds, "cpu_s": time.process_time() - spent}))


uvloop.run(main())
