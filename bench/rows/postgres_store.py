"""The store alone on PostgreSQL, beside asyncpg doing the same batches, beside pgbench with a commit for each statement."""

import re
from typing import Final

from bench.effort import Effort
from bench.fleet import Fleet
from bench.opened import create
from bench.postgres import SQL, Postgres, desk, run_program, text
from bench.report import Figure
from bench.rows.store import CALLERS, Match, Seen, figures, play_bare, play_ours, sql_folder

NAME: Final = "store alone, PostgreSQL"
_TPS: Final = re.compile(rb"tps = ([0-9.]+)")


async def measure(fleet: Fleet, effort: Effort, postgres: Postgres) -> list[Figure]:
    """Rounds of ours, of the driver, of pgbench, in turn."""
    ours, bare, plain = [postgres.database(f"bench_store_{name}") for name in ("ours", "bare", "plain")]
    await create(bare)
    async with desk(plain) as connection:
        await connection.execute(text("pgbench_table"))
    command = ["bench.limits.postgres_driver", "--database", bare, "--sql", str(sql_folder("postgres"))]
    match = Match(row=NAME, database=ours, limit=command, limit_name="bare asyncpg")
    seen, classic, backend = Seen(), [], []
    for _ in range(effort.rounds):
        before = postgres.cpu_s()
        done = play_ours(fleet, match, effort.store_s, seen)
        after = postgres.cpu_s()
        if before is not None and after is not None:
            backend.append((after - before) * 1e6 / done.calls)
        play_bare(fleet, match, done, seen)
        classic.append(pgbench(plain, effort.store_s))
    theirs = [Figure(row=NAME, name="PostgreSQL's CPU a call, all its processes", unit="µs", values=backend)]
    return [
        *figures(match, seen),
        *(theirs if backend else []),
        Figure(
            row=NAME,
            name=f"pgbench: insert, update of a bare table, {CALLERS} connections, a commit each",
            unit="calls/s",
            values=classic,
            at_least=True,
        ),
    ]


def pgbench(url: str, seconds: float) -> float:
    """How many pairs of insert, update a second it makes, as whoever asks without group commit does."""
    script = f"--file={SQL / 'pgbench_call.sql'}"
    many = [f"--client={CALLERS}", "--jobs=2", f"--time={max(1, round(seconds))}"]
    said = run_program(["pgbench", "--no-vacuum", "--protocol=prepared", *many, script, url])
    found = _TPS.search(said)
    if found is None:
        raise RuntimeError(f"pgbench said no rate: {said!r}")
    return float(found[1])
