"""A profile by function of the event loops of server, worker under the load of the sync row or the chunk row."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from bench.effort import Effort
from bench.fleet import Fleet
from bench.load import Order, run_round
from bench.world import Plan, world

SHOWN: Final = 60
_PLUMBING: Final = ("runpy", "typer", "asyncio/runners", "cli/", "uvloop/", "bench/", "<frozen")


class Profile(NamedTuple):
    """Microseconds of one event loop a call or chunk: by function, without those it calls, then with them."""

    process: str
    own: Counter[str]
    whole: Counter[str]
    units: int


async def profile(fleet: Fleet, effort: Effort, load: str) -> list[Profile]:
    """Profiles while that load runs `rounds` times."""
    chunked = load == "chunk"
    slots = effort.streams // 2 if chunked else 64
    plan = Plan(name="profile", workers=2 if chunked else 1, slots=slots, sampled=True)
    async with world(fleet, plan) as made:
        order = Order(made.address, effort.calls, 64)
        if chunked:
            order = Order(made.address, effort.streams, effort.streams, effort.chunks)
        for _ in range(effort.rounds):
            await run_round(order)
    units = effort.rounds * (effort.streams * (effort.chunks + 1) if chunked else effort.calls)
    stacks = sorted(fleet.folder.glob("*.stacks"))
    return [count_samples(path.stem, path.read_text(encoding="utf-8"), units) for path in stacks]


def count_samples(process: str, stacks: str, units: int) -> Profile:
    """Sum the stacks of that many calls or chunks, one a line: frames from the outermost on, then microseconds.

    What was spent on importing is left out.
    """
    own, whole = Counter[str](), Counter[str]()
    for line in stacks.splitlines():
        stack, _, spent = line.rpartition(" ")
        if "importlib" in stack:
            continue
        frames = stack.split(";")
        own[frames[-1]] += int(spent)
        for frame in set(frames):
            whole[frame] += int(spent)
    return Profile(process, own, whole, units)


def print_profile(one: Profile) -> None:
    """The functions that take the most."""
    print(f"\n{one.process}: {one.own.total() / one.units:.1f} µs of its event loop each\nby themselves:")
    _print_counts(one, one.own.most_common(SHOWN))
    print("with what they call:")
    _print_counts(one, [(name, spent) for name, spent in one.whole.most_common(2 * SHOWN) if not _is_plumbing(name)])


def _print_counts(one: Profile, counts: Sequence[tuple[str, int]]) -> None:
    for name, spent in counts[:SHOWN]:
        print(f"{spent / one.units:8.2f} µs {spent / one.own.total():6.1%}  {name}")


def _is_plumbing(name: str) -> bool:
    return any(part in name for part in _PLUMBING)
