"""Other queues on the same PostgreSQL: a durable job of theirs that does nothing, beside a durable call of ours."""

from typing import Final

import msgspec

from bench.effort import Effort
from bench.fleet import Fleet
from bench.load import Order, run_round
from bench.postgres import Postgres
from bench.report import Figure
from bench.rows.call import CALLERS
from bench.world import Plan, World, world

NAME: Final = "beside other queues"
OTHERS: Final = ("procrastinate", "pgqueuer")


class _Jobs(msgspec.Struct):
    jobs: int
    seconds: float
    cpu_s: float
    database_s: float


class _Seen(msgspec.Struct):
    """A value a round."""

    rates: list[float] = []
    cpu_us: list[float] = []
    """Of the queue's own processes."""
    database_us: list[float] = []


async def measure(fleet: Fleet, effort: Effort, postgres: Postgres) -> list[Figure]:
    """Rounds of calls, of jobs of each of the others, in turn: 64 under way, each waited for."""
    urls = {name: postgres.database(f"bench_{name}") for name in OTHERS}
    flags = [] if postgres.postmaster is None else ["--postmaster", str(postgres.postmaster)]
    ours, theirs = _Seen(), {name: _Seen() for name in OTHERS}
    async with world(fleet, Plan(name="queues", database=postgres.database("bench_queue_ours"))) as made:
        await run_round(Order(made.address, effort.jobs, CALLERS))
        for _ in range(effort.rounds):
            await _calls(made, postgres, effort.jobs, ours)
            for name, url in urls.items():
                command = ["-m", f"bench.queues.{name}_jobs", "--database", url, "--jobs", str(effort.jobs), *flags]
                _jobs(fleet, command, theirs[name])
    figures = _figures("a call of ours: server, worker", ours)
    return figures + [figure for name, seen in theirs.items() for figure in _figures(f"a job of {name}", seen)]


async def _calls(made: World, postgres: Postgres, calls: int, seen: _Seen) -> None:
    before = _spent(made, postgres)
    done = await run_round(Order(made.address, calls, CALLERS))
    own, database = [(now - then) * 1e6 / calls for now, then in zip(_spent(made, postgres), before, strict=True)]
    _add(seen, calls / done.seconds, own, database)


def _spent(made: World, postgres: Postgres) -> tuple[float, float]:
    """CPU seconds of server, worker; of PostgreSQL."""
    return made.server.cpu_s() + made.workers[0].cpu_s(), postgres.cpu_s() or 0.0


def _jobs(fleet: Fleet, command: list[str], seen: _Seen) -> None:
    done = msgspec.json.decode(fleet.run("jobs", command), type=_Jobs)
    _add(seen, done.jobs / done.seconds, done.cpu_s * 1e6 / done.jobs, done.database_s * 1e6 / done.jobs)


def _add(seen: _Seen, rate: float, own_us: float, database_us: float) -> None:
    seen.rates.append(rate)
    seen.cpu_us.append(own_us)
    seen.database_us.append(database_us)


def _figures(what: str, seen: _Seen) -> list[Figure]:
    """A comparison: no target."""
    theirs = [Figure(row=NAME, name=f"{what}: PostgreSQL's CPU", unit="µs", values=seen.database_us)]
    return [
        Figure(row=NAME, name=what, unit="/s", values=seen.rates, at_least=True),
        Figure(row=NAME, name=f"{what}: CPU", unit="µs", values=seen.cpu_us),
        *(theirs if any(seen.database_us) else []),
    ]
