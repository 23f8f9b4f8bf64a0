"""The durable sync call: what one costs server, worker when 64 callers ask at once."""

from typing import Final, NamedTuple

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


class _Costs(NamedTuple):
    """Microseconds of CPU a call, a value a round."""

    server: list[float]
    worker: list[float]
    flat_out: list[float]
    """The bare endpoint, asked again as soon as it answered."""
    our_rate: list[float]
    """The bare endpoint, asked as often as ours could be."""


async def _rounds(made: World, endpoint: Process, bare: Address, effort: Effort) -> list[Figure]:
    costs, rates = _Costs([], [], [], []), []
    ours, theirs = (Order(address, effort.calls, CALLERS) for address in (made.address, bare))
    for order in (ours, theirs):
        await run_round(order._replace(calls=effort.calls // 6))
    for _ in range(effort.rounds):
        before = made.server.cpu_s(), made.workers[0].cpu_s()
        done = await run_round(ours)
        costs.server.append(_each(made.server, before[0], done))
        costs.worker.append(_each(made.workers[0], before[1], done))
        rates.append(done.calls / done.seconds)
        paced = theirs._replace(calls=effort.calls // 2, cycle_s=CALLERS * done.seconds / done.calls)
        for order, values in ((theirs, costs.flat_out), (paced, costs.our_rate)):
            start = endpoint.cpu_s()
            values.append(_each(endpoint, start, await run_round(order)))
    return _figures(costs, rates)


def _figures(costs: _Costs, rates: list[float]) -> list[Figure]:
    even, flat_out = ratios(costs.server, costs.our_rate), ratios(costs.server, costs.flat_out)
    fast = f"µs, {_LIMIT} at our rate", f"µs, {_LIMIT} flat out"
    return [
        Figure(row=NAME, name="server CPU", unit="µs", values=costs.server, target=250),
        Figure(
            row=NAME, name="the same / limit", unit="x", values=even, target=2, limit=costs.our_rate, limit_name=fast[0]
        ),
        Figure(
            row=NAME,
            name="the same / limit",
            unit="x",
            values=flat_out,
            limit=costs.flat_out,
            limit_name=fast[1],
        ),
        Figure(row=NAME, name="worker CPU", unit="µs", values=costs.worker, target=350),
        Figure(row=NAME, name="all processes on these cores", unit="calls/s", values=rates, at_least=True),
    ]


def _each(process: Process, before: float, done: Round) -> float:
    """Microseconds of the process's own time a call."""
    return (process.cpu_s() - before) * 1e6 / done.calls
