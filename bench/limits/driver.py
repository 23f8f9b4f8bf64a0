"""The limit of the store: the driver alone, with the same statements, rows, batches, nothing around them."""

import argparse
import json
import re
import sqlite3
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
for flag, kind in (("database", str), ("sql", Path), ("half", int), ("seconds", float)):
    parser.add_argument(f"--{flag}", type=kind, required=True)
options = parser.parse_args()
texts = "".join((options.sql / name).read_text() for name in ("connection.sql", "enqueue.sql", "endings.sql"))
named = re.findall(r"-- name: (\w+)\n(.*?)(?=-- name: |\Z)", texts, re.DOTALL)
say = {name: re.sub("--.*", "", text) for name, text in named}
database = sqlite3.connect(options.database, isolation_level=None)
for name in ("page_size", "auto_vacuum", "journal_mode", "synchronous", "cache_size"):
    database.execute(say[name]).fetchall()
if not database.execute("SELECT name FROM sqlite_schema").fetchall():
    for path in sorted((options.sql / "migrations").glob("*.sql")):
        database.executescript(path.read_text())
body, answer, held, calls = b"x" * 1011, b"y" * 1026, list[str](), 0
start, began, spent = time.time_ns() // 1000, time.perf_counter(), time.process_time()
while (seconds := time.perf_counter() - began) < options.seconds:
    now = time.time_ns() // 1000
    new = [f"{start:020}-{number:015}" for number in range(calls, calls + options.half)]
    calls += len(new)
    database.execute(say["begin"])
    database.executemany(say["end_attempt"], [(now, "completed", None, None, None, one, 1, "s" * 36) for one in held])
    done = [(now, 200, "application/json", answer, 200, 200, one, 1, "s" * 36) for one in held]
    database.executemany(say["complete"], done)
    database.executemany(say["enqueue"], [
        (one, "pool:scripted", "scripted", None, "scripted", None, "chat/completions", 0, "default", 1.0, "local", None,
         "wait", 3, "{}", now, now, now, 0, 1011, "application/json", "{}", body,
         "claimed", 1, "s" * 36, "scripted@bench", one, now, now, 0) for one in new
    ])  # fmt: skip
    database.execute(say["commit"])
    held = new
print(json.dumps({"calls": calls, "seconds": seconds, "cpu_s": time.process_time() - spent}))
