"""The added latency: what one caller waits longer than at the engine itself."""

from typing import Final

from bench.connection import Address, Reply
from bench.effort import Effort
from bench.fleet import Fleet
from bench.load import Order, run_round
from bench.report import Figure, percentile
from bench.world import Plan, World, world

NAME: Final = "added latency, 1 caller"
CHUNKS: Final = 20
_LIMIT: Final = "ms of the engine itself"


async def measure(fleet: Fleet, effort: Effort) -> list[Figure]:
    """Rounds through the server, then directly, in turn."""
    async with world(fleet, Plan(name="latency", slots=4)) as made:
        return await _rounds(made, effort.rounds, effort.singles)


async def _rounds(made: World, rounds: int, calls: int) -> list[Figure]:
    middle, tail, first = _figure("p50", 3), _figure("p99", 10), _figure("first chunk of a stream, p50", 4)
    for address in (made.address, made.engine_address):
        await _ask(address, 20, 0)
    for _ in range(rounds):
        through, direct = await _ask(made.address, calls, 0), await _ask(made.engine_address, calls, 0)
        for figure, part in ((middle, 0.5), (tail, 0.99)):
            _add(figure, [percentile([one.seconds for one in side], part) for side in (through, direct)])
        through, direct = await _ask(made.address, calls, CHUNKS), await _ask(made.engine_address, calls, CHUNKS)
        _add(first, [percentile([one.first_s for one in side], 0.5) for side in (through, direct)])
    return [middle, tail, first]


async def _ask(address: Address, calls: int, chunks: int) -> list[Reply]:
    return (await run_round(Order(address, calls, 1, chunks))).replies


def _figure(name: str, target: float) -> Figure:
    return Figure(row=NAME, name=name, unit="ms", values=[], target=target, limit=[], limit_name=_LIMIT)


def _add(figure: Figure, seconds: list[float]) -> None:
    through, direct = seconds
    figure.values.append((through - direct) * 1000)
    figure.limit.append(direct * 1000)
