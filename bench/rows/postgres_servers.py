"""Several servers on one PostgreSQL: the calls a second of one, two, three of them, each with its own worker, its own callers."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

import msgspec

from bench.effort import Effort
from bench.fleet import Fleet
from bench.load import Order, run_round
from bench.machine import ALL_CORES
from bench.postgres import Postgres
from bench.report import Figure
from bench.world import Plan, World, world

NAME: Final = "servers on one PostgreSQL"
CALLERS: Final = 60
"""In all, shared by the servers that are asked: less than the slots of one worker."""
SERVERS: Final = 3


class _Seen(msgspec.Struct):
    """A value a round."""

    rates: list[float] = []
    server_us: list[float] = []
    """CPU of all the servers a call, those included that nobody asks."""


async def measure(fleet: Fleet, effort: Effort, postgres: Postgres) -> list[Figure]:
    """Rounds that ask one, two, three of three running servers, in turn."""
    url = postgres.database("bench_servers")
    seen = [_Seen() for _ in range(SERVERS)]
    async with AsyncExitStack() as running:
        made: list[World] = []
        for number in range(SERVERS):
            engine_port = made[0].engine_port if made else None
            plan = Plan(name=f"server-{number}", database=url, engine_port=engine_port, cores=ALL_CORES)
            made.append(await running.enter_async_context(world(fleet, plan)))
        await _ask(made, effort.calls // 6)
        for _ in range(effort.rounds):
            for number, one in enumerate(seen, 1):
                await _round(made, made[:number], effort.calls // 2, one)
    return [figure for number, one in enumerate(seen, 1) for figure in _figures(number, one)]


async def _round(made: list[World], asked: list[World], calls: int, seen: _Seen) -> None:
    before = sum(one.server.cpu_s() for one in made)
    seen.rates.append(await _ask(asked, calls))
    seen.server_us.append((sum(one.server.cpu_s() for one in made) - before) * 1e6 / calls)


async def _ask(asked: list[World], calls: int) -> float:
    """That many calls by all callers, the servers asked alike; gives the calls a second."""
    orders = [Order(one.address, calls // len(asked), CALLERS // len(asked)) for one in asked]
    done = await asyncio.gather(*(run_round(order) for order in orders))
    return sum(one.calls for one in done) / max(one.seconds for one in done)


def _figures(number: int, seen: _Seen) -> list[Figure]:
    asked = f"{number} of {SERVERS} servers asked"
    return [
        Figure(row=NAME, name=f"{asked}, all on these cores", unit="calls/s", values=seen.rates, at_least=True),
        Figure(row=NAME, name=f"{asked}, CPU of the servers", unit="µs", values=seen.server_us),
    ]
