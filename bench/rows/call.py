"""The durable sync call: what one costs server, worker when 64 callers ask at once."""

from typing import Final

from bench.connection import Address
from bench.effort import Effort
from bench.fleet import Fleet, Process, free_port
from bench.load import Order, Round, run_round
from bench.machine import server_cores
from bench.report import Figure, ratios
from bench.world import Plan, World, reachable, world

NAME: Final = "durable sync call"
CALLERS: Final = 64
_LIMIT: Final = "bare Starlette endpoint"


async def measure(fleet: Fleet, effort: Effort) -> list[Figure]:
    """Rounds of ours, of the bare endpoint, in turn."""
    async with world(fleet, Plan(name="call")) as made:
        port = free_port()
        endpoint = fleet.start("endpoint", ["-m", "bench.limits.endpoint", "--port", str(port)], server_cores())
        await reachable(endpoint, port, "/ready")
        try:
            return await _rounds(made, endpoint, Address(port), effort)
        finally:
            fleet.end(endpoint)


async def _rounds(made: World, endpoint: Process, bare: Address, effort: Effort) -> list[Figure]:
    server, worker, limit, rates = [], [], [], []
    for address in (made.address, bare):
        await run_round(Order(address, effort.calls // 6, CALLERS))
    for _ in range(effort.rounds):
        before = made.server.cpu_s(), made.workers[0].cpu_s()
        done = await run_round(Order(made.address, effort.calls, CALLERS))
        server.append(_each(made.server, before[0], done))
        worker.append(_each(made.workers[0], before[1], done))
        rates.append(done.calls / done.seconds)
        start = endpoint.cpu_s()
        limit.append(_each(endpoint, start, await run_round(Order(bare, effort.calls, CALLERS))))
    return [
        Figure(row=NAME, name="server CPU", unit="µs", values=server, target=250, limit=limit, limit_name=_LIMIT),
        Figure(row=NAME, name=f"server CPU / {_LIMIT}", unit="x", values=ratios(server, limit), target=2),
        Figure(row=NAME, name="worker CPU", unit="µs", values=worker, target=350),
        Figure(row=NAME, name="all processes on these cores", unit="calls/s", values=rates, at_least=True),
    ]


def _each(process: Process, before: float, done: Round) -> float:
    """Microseconds of the process's own time a call."""
    return (process.cpu_s() - before) * 1e6 / done.calls
