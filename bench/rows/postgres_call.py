"""The durable sync call on PostgreSQL: what one costs server, worker, database when 64 callers ask at once."""

from typing import Final

import msgspec

from bench.counters import Counters, counters, wal_position
from bench.effort import Effort
from bench.fleet import Fleet
from bench.load import Order, run_round
from bench.postgres import Postgres
from bench.report import Figure
from bench.rows.call import CALLERS
from bench.world import Plan, World, world

NAME: Final = "durable sync call, PostgreSQL"
DATABASE: Final = "bench_call"


class _Seen(msgspec.Struct):
    """A value a round; times are microseconds of CPU a call."""

    server: list[float] = []
    worker: list[float] = []
    database: list[float] = []
    wal: list[float] = []
    """Bytes a call."""
    rates: list[float] = []


async def measure(fleet: Fleet, effort: Effort, postgres: Postgres) -> list[Figure]:
    """Rounds of calls; what the server counts late is read when the connections are closed."""
    url = postgres.database(DATABASE)
    before = await counters(url)
    warm_up = effort.calls // 6
    async with world(fleet, Plan(name="postgres-call", database=url)) as made:
        await run_round(Order(made.address, warm_up, CALLERS))
        seen = _Seen()
        for _ in range(effort.rounds):
            await _round(made, postgres, effort.calls, seen)
    counted = (await counters(url)).since(before)
    return [*_figures(seen), *_counted(counted, warm_up + effort.rounds * effort.calls)]


async def _round(made: World, postgres: Postgres, calls: int, seen: _Seen) -> None:
    before, start = _spent(made, postgres), await wal_position(postgres.url)
    done = await run_round(Order(made.address, calls, CALLERS))
    spent = [(after - earlier) * 1e6 / calls for after, earlier in zip(_spent(made, postgres), before, strict=True)]
    for values, value in zip((seen.server, seen.worker, seen.database), spent, strict=False):
        values.append(value)
    seen.wal.append((await wal_position(postgres.url) - start) / calls)
    seen.rates.append(calls / done.seconds)


def _spent(made: World, postgres: Postgres) -> list[float]:
    """CPU seconds of server, worker, and of PostgreSQL unless it was given."""
    theirs = postgres.cpu_s()
    return [made.server.cpu_s(), made.workers[0].cpu_s(), *([] if theirs is None else [theirs])]


def _figures(seen: _Seen) -> list[Figure]:
    whole = [Figure(row=NAME, name="PostgreSQL's CPU, all its processes", unit="µs", values=seen.database)]
    return [
        Figure(row=NAME, name="server CPU", unit="µs", values=seen.server, target=250),
        Figure(row=NAME, name="worker CPU", unit="µs", values=seen.worker, target=350),
        *(whole if seen.database else []),
        Figure(row=NAME, name="all processes on these cores", unit="calls/s", values=seen.rates, at_least=True),
        Figure(row=NAME, name="write-ahead log, a call", unit="B", values=seen.wal),
    ]


def _counted(counted: Counters, calls: int) -> list[Figure]:
    """Of all the rounds together."""
    each = (
        ("commits, a call", counted.commits),
        ("dead rows, a call", counted.dead),
        ("of them for vacuum alone", counted.dead_with_indexes),
    )
    return [Figure(row=NAME, name=name, unit="", values=[count / calls]) for name, count in each]
