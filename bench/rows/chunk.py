"""The relayed chunk: 200 streams from two workers as fast as they go."""

from typing import Final

from bench.connection import Address
from bench.effort import Effort
from bench.fleet import Fleet, Process, free_port
from bench.load import Order, run_round
from bench.machine import server_cores
from bench.report import Figure
from bench.world import Plan, World, reachable, world

NAME: Final = "relayed chunk"
WORKERS: Final = 2
_LIMIT: Final = "bare Starlette relay"


async def measure(fleet: Fleet, effort: Effort) -> list[Figure]:
    """Rounds of whole streams; what a stream itself costs is shared by its chunks."""
    plan = Plan(name="chunk", workers=WORKERS, slots=-(-effort.streams // WORKERS))
    async with world(fleet, plan) as made:
        port = free_port()
        command = ["-m", "bench.limits.relay", "--port", str(port), "--engine", str(made.engine_port)]
        relay = fleet.start("relay", command, server_cores())
        await reachable(relay, port, "/ready")
        try:
            return await _rounds(made, relay, Address(port), effort)
        finally:
            fleet.end(relay)


async def _rounds(made: World, relay: Process, bare: Address, effort: Effort) -> list[Figure]:
    server, worker, limit, rates = [], [], [], []
    chunks = effort.streams * (effort.chunks + 1)
    order = Order(made.address, effort.streams, effort.streams, effort.chunks)
    for address in (made.address, bare):
        await run_round(order._replace(address=address, chunks=20))
    for _ in range(effort.rounds):
        before = made.server.cpu_s(), _cpu_s(made)
        done = await run_round(order)
        server.append((made.server.cpu_s() - before[0]) * 1e6 / chunks)
        worker.append((_cpu_s(made) - before[1]) * 1e6 / chunks)
        rates.append(chunks / done.seconds)
        start = relay.cpu_s()
        await run_round(order._replace(address=bare))
        limit.append((relay.cpu_s() - start) * 1e6 / chunks)
    return [
        Figure(row=NAME, name="server CPU", unit="µs", values=server, target=25, limit=limit, limit_name=_LIMIT),
        Figure(row=NAME, name="workers' CPU", unit="µs", values=worker, target=25),
        Figure(row=NAME, name="all processes on these cores", unit="chunks/s", values=rates, at_least=True),
    ]


def _cpu_s(made: World) -> float:
    return sum(worker.cpu_s() for worker in made.workers)
