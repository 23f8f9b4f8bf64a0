"""The cost of a backlog on PostgreSQL: enqueue, claim with a million tasks waiting, beside a thousand among as many rows."""

import asyncio
from typing import Final

from bench.backlog_alone import BacklogRound
from bench.effort import Effort
from bench.fill_postgres import Filling, fill
from bench.fleet import Fleet
from bench.postgres import Postgres
from bench.report import Figure
from bench.rows.backlog import Costs, alone, figures

NAME: Final = "cost of a backlog, PostgreSQL"


async def measure(fleet: Fleet, effort: Effort, postgres: Postgres) -> list[Figure]:
    """Rounds with many, with few waiting, in turn: the CPU of the store with that of the database's own processes."""
    many, few = [postgres.database(f"bench_{name}") for name in ("many", "few")]
    history = effort.backlog - effort.few
    await asyncio.gather(
        fill(many, Filling(waiting=effort.backlog, ended=0, owners=effort.flows)),
        fill(few, Filling(waiting=effort.few, ended=history, owners=effort.flows)),
    )
    costs = Costs([], []), Costs([], [])
    flags = [] if postgres.postmaster is None else ["--postmaster", str(postgres.postmaster)]
    for _ in range(effort.rounds):
        for url, one in zip((many, few), costs, strict=True):
            done = alone(fleet, ["--database", url, *flags], effort)
            for values, value in zip(one, _microseconds(done, 4 * effort.backlog_calls, postgres), strict=True):
                values.append(value)
    for name in ("bench_many", "bench_few"):
        postgres.drop(name)
    return figures(NAME, "time" if postgres.postmaster is None else "store and database CPU", costs)


def _microseconds(done: BacklogRound, tasks: int, postgres: Postgres) -> tuple[float, float]:
    """Of a server elsewhere nobody can read the CPU: the time on the wall stands for it."""
    if postgres.postmaster is None:
        return done.enqueue_s * 1e6 / tasks, done.claim_s * 1e6 / tasks
    return done.enqueue_us, done.claim_us
