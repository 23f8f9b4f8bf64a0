"""The sweep: how much longer the slowest calls take while a million expired rows are being deleted."""

import shutil
from typing import Final

from bench.connection import get
from bench.effort import Effort
from bench.ended import ended_id
from bench.fleet import Fleet
from bench.load import Order, ask_once, run_round
from bench.report import Figure, percentile, ratios
from bench.world import Plan, World, world

NAME: Final = "sweep"
CALLERS: Final = 16
CYCLE_S: Final = 0.02
"""Each caller asks that often, so both servers are asked alike: 800 times a second, less where they are slower."""
_MONTH_S: Final = 30 * 86_400
"""More than any task is kept."""
_SOON_S: Final = "0.1"
_NEVER_S: Final = "100000"
_LIMIT: Final = "ms without the sweep"


class NotSweeping(Exception):
    """The sweep had not begun, or was over, when its cost was measured."""


async def measure(fleet: Fleet, effort: Effort) -> list[Figure]:
    """Two servers with the same rows, one of which sweeps: asked in turn, the other stands still meanwhile."""
    sweeps, rests = [
        Plan(name=name, database=fleet.folder / f"{name}.db", settings={"INFERPOOL_SWEEP_S": pause_s})
        for name, pause_s in (("sweeps", _SOON_S), ("rests", _NEVER_S))
    ]
    filled = fleet.folder / "expired.db"
    command = ["-m", "bench.ended", "--database", str(filled), "--tasks", str(effort.expired)]
    fleet.run("ended", [*command, "--owners", "1", "--age-s", str(_MONTH_S)])
    for plan in (sweeps, rests):
        shutil.copyfile(filled, fleet.folder / f"{plan.name}.db")
    filled.unlink()
    async with world(fleet, rests) as resting, world(fleet, sweeps) as sweeping:
        return await _rounds(sweeping, resting, effort)


async def _rounds(sweeps: World, rests: World, effort: Effort) -> list[Figure]:
    tails: dict[str, list[float]] = {made.plan.name: [] for made in (sweeps, rests)}
    for number in range(effort.rounds + 1):
        for made, other in ((sweeps, rests), (rests, sweeps)):
            with other.server.paused():
                tail_ms = await _tail_ms(made, effort.sweep_calls)
            if number:  # the first round warms up
                tails[made.plan.name].append(tail_ms)
        await _check_under_way(sweeps, effort.expired)
    return _figures(tails["sweeps"], tails["rests"])


async def _tail_ms(made: World, calls: int) -> float:
    done = await run_round(Order(made.address, calls, CALLERS, cycle_s=CYCLE_S))
    return percentile([reply.seconds for reply in done.replies], 0.99) * 1000


async def _check_under_way(sweeps: World, expired: int) -> None:
    """The first row must be gone, the last one there still. Raises `NotSweeping`."""
    first, last = [
        (await ask_once(sweeps.port, get(f"/api/v1/inference-tasks/{ended_id(number)}"))).status
        for number in (0, expired - 1)
    ]
    if (first, last) != (404, 200):
        raise NotSweeping(f"the first expired row answers {first}, the last one {last}")


def _figures(with_sweep: list[float], without: list[float]) -> list[Figure]:
    return [
        Figure(
            row=NAME,
            name="p99 of calls beside the sweep of a million expired rows / limit",
            unit="x",
            values=ratios(with_sweep, without),
            target=1.2,
            limit=without,
            limit_name=_LIMIT,
        ),
        Figure(row=NAME, name="p99 of calls beside it", unit="ms", values=with_sweep),
    ]
