"""Across servers: what a call costs that comes to one server while its worker is connected to another."""

from contextlib import AsyncExitStack
from typing import Final, NamedTuple

import msgspec

from bench.connection import Reply
from bench.effort import Effort
from bench.fleet import Fleet
from bench.load import Order, run_round
from bench.machine import ALL_CORES
from bench.postgres import Postgres
from bench.report import Figure, percentile
from bench.rows.chunk import WORKERS
from bench.rows.latency import CHUNKS
from bench.world import Plan, World, llms_of, serving, world

NAME: Final = "across two servers"
_NOTIFY: Final = "ms, bare LISTEN/NOTIFY there with back"


class _Round(msgspec.Struct):
    p50_ms: float


class _Two(NamedTuple):
    """Servers on one database: `near` has the workers, `far` is asked."""

    near: World
    far: World


class _Seen(msgspec.Struct):
    """A value a round. Milliseconds are those more than at the engine itself."""

    middle: list[float] = []
    near_middle: list[float] = []
    first: list[float] = []
    notify: list[float] = []
    servers_us: list[float] = []
    """CPU of both servers a chunk."""
    chunks_s: list[float] = []


async def measure(fleet: Fleet, effort: Effort, postgres: Postgres) -> list[Figure]:
    """Rounds across, at the worker's own server, at the engine, of bare notifications, in turn."""
    url = postgres.database("bench_across")
    slots = -(-effort.streams // WORKERS)
    async with AsyncExitStack() as running:
        plan = Plan(name="near", database=url, workers=WORKERS, slots=slots, cores=ALL_CORES)
        near = await running.enter_async_context(world(fleet, plan))
        plan = Plan(name="far", database=url, workers=0, engine_port=near.engine_port, cores=ALL_CORES)
        two = _Two(near, await running.enter_async_context(world(fleet, plan)))
        await serving(two.far, llms_of(near.plan))
        await run_round(Order(two.far.address, 3, 1))
        seen = _Seen()
        for _ in range(effort.rounds):
            await _latencies(two, effort.across_calls, seen)
            seen.notify.append(_bare(fleet, url, effort.across_calls))
            await _chunks(two, effort, seen)
    return _figures(seen)


async def _latencies(two: _Two, calls: int, seen: _Seen) -> None:
    for chunks, first in ((0, False), (CHUNKS, True)):
        places = two.far.address, two.near.address, two.near.engine_address
        far, near, direct = [
            _middle_ms((await run_round(Order(one, calls, 1, chunks))).replies, first=first) for one in places
        ]
        if first:
            seen.first.append(far - direct)
        else:
            seen.middle.append(far - direct)
            seen.near_middle.append(near - direct)


def _middle_ms(replies: list[Reply], *, first: bool) -> float:
    return percentile([one.first_s if first else one.seconds for one in replies], 0.5) * 1000


def _bare(fleet: Fleet, url: str, times: int) -> float:
    command = ["-m", "bench.limits.notify", "--database", url, "--times", str(times)]
    return msgspec.json.decode(fleet.run("notify", command), type=_Round).p50_ms


async def _chunks(two: _Two, effort: Effort, seen: _Seen) -> None:
    order = Order(two.far.address, effort.streams, effort.streams, effort.chunks)
    chunks = order.calls * (order.chunks + 1)
    before = sum(one.server.cpu_s() for one in two)
    done = await run_round(order)
    seen.servers_us.append((sum(one.server.cpu_s() for one in two) - before) * 1e6 / chunks)
    seen.chunks_s.append(chunks / done.seconds)


def _figures(seen: _Seen) -> list[Figure]:
    return [
        Figure(
            row=NAME,
            name="added latency, 1 caller, p50",
            unit="ms",
            values=seen.middle,
            target=8,
            limit=seen.notify,
            limit_name=_NOTIFY,
        ),
        Figure(row=NAME, name="the same at the worker's own server", unit="ms", values=seen.near_middle),
        Figure(row=NAME, name="first chunk of a stream, p50", unit="ms", values=seen.first),
        Figure(row=NAME, name="relayed chunk, CPU of both servers", unit="µs", values=seen.servers_us, target=60),
        Figure(row=NAME, name="all processes on these cores", unit="chunks/s", values=seen.chunks_s, at_least=True),
    ]
