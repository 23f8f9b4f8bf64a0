"""What one seed's run will suffer: its weather, its engines' moods, its troubles in order of their time."""

from enum import Enum
from random import Random

import msgspec

from inferpool.core.clock import DAY, HOUR, SECOND
from inferpool.dispatch.options import DispatchOptions
from tests.simulation.engine import Moods
from tests.simulation.signals import QUIET, SignalWeather, gusts
from tests.simulation.weather import Weather, storm

TASKS = 40
WORKERS = ("w1", "w2")
SERVERS = {1: ("server",), 2: ("s1", "s2"), 3: ("s1", "s2", "s3")}
"""The names of so many servers."""


class What(Enum):
    """A trouble that befalls one process."""

    KILL = "kill"
    EMPTY = "kill, folder lost"
    STOP = "stop"
    FULL = "disk full"
    LEAVE = "leave"
    AWAY = "engine away"
    CLONE = "copied"
    DEAF = "no hint comes in"
    MUTE = "no hint goes out"


class Trouble(msgspec.Struct, frozen=True, order=True):
    """From `at_s` on (or from just after a cue), for `lasts_s`, `what` befalls `who`."""

    at_s: float
    lasts_s: float
    who: str
    what: What
    cue: tuple[str, int] | None = None
    """The n-th commit with a verb in it, if that comes before `at_s`."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that a seed decides before its run begins."""

    seed: int
    ends_s: float
    """When everything is healed."""
    weather: Weather
    moods: Moods
    troubles: list[Trouble]
    dispatch: DispatchOptions
    servers: tuple[str, ...]
    signals: SignalWeather = QUIET

    @property
    def stream(self) -> str:
        """What every source of randomness of the run is named after."""
        return stream_of(self.seed, len(self.servers))

    @property
    def forgets_soon(self) -> bool:
        """Whether sessions are deleted while their workers may still come back with answers."""
        return self.dispatch.forget_after < HOUR

    def __str__(self) -> str:
        troubles = "".join(
            f"\n  {one.at_s:7.3f} s {one.who}: {one.what.value} for {one.lasts_s:.3f} s"
            + (f", or after {one.cue[0]} {one.cue[1]}" if one.cue else "")
            for one in self.troubles
        )
        hints = f"\n  {self.signals}" if len(self.servers) > 1 else ""
        servers = ", ".join(self.servers)
        told = f"seed {self.seed}, {servers}, healed at {self.ends_s:.1f} s"
        return f"{told}\n  {self.weather}\n  {self.moods}{hints}{troubles}"


def servers_of(seed: int) -> int:
    """How many servers a seed has in the mixture: two thirds have one, a twelfth has three."""
    return 1 if seed % 3 != 2 else 3 if seed % 12 == 11 else 2


def stream_of(seed: int, servers: int) -> str:
    """A seed's randomness depends on how many servers it is played with."""
    return f"{seed}" if servers == 1 else f"{seed} with {servers} servers"


def draw(seed: int, servers: int | None = None) -> Plan:
    """The plan of a seed; with as many servers as the mixture gives it, unless told."""
    names = SERVERS[servers or servers_of(seed)]
    chance = Random(f"{stream_of(seed, len(names))} plan")
    ends_s = chance.uniform(10.0, 30.0)
    return Plan(
        seed=seed,
        ends_s=ends_s,
        weather=storm(chance),
        moods=_moods(chance),
        troubles=sorted(_troubles(chance, ends_s, names), key=lambda trouble: trouble.at_s),
        dispatch=_options(chance),
        servers=names,
        signals=gusts(chance) if len(names) > 1 else QUIET,
    )


def _moods(chance: Random) -> Moods:
    return Moods(
        busy=chance.choice((0.0, 0.0, 0.1)),
        broken=chance.choice((0.0, 0.0, 0.1)),
        breaks_off=chance.choice((0.0, 0.1)),
        silent=chance.choice((0.0, 0.0, 0.05)),
        pause_s=chance.choice((0.01, 0.1, 0.1, 0.5, 3.0)),
        words=chance.choice((2, 8, 20)),
    )


def _options(chance: Random) -> DispatchOptions:
    """The defaults, hurried: a run is short, so that many of them can be made."""
    return DispatchOptions(
        grace_s=4.0,
        heartbeat_s=2.0,
        silence_s=6.0,
        ping_s=2.0,
        slot_release_s=4.0,
        beat_s=1.0,
        sweep_s=10.0,
        sweep_limit=chance.choice((1, 500)),
        wait_limit_s=60.0,
        run_limit=chance.choice((15 * SECOND, HOUR, HOUR)),
        stale_after=30 * SECOND,
        forget_after=chance.choice((20 * SECOND, 4 * HOUR)),
        keep_tasks=7 * DAY,
    )


_OF_SERVER = ((What.KILL, 3, 1.0), (What.STOP, 1, 1.0), (What.FULL, 1, 1.0), (What.LEAVE, 1, 0.3))
_OF_SERVERS = (
    (What.KILL, 4, 1.0),
    (What.STOP, 2, 1.0),
    (What.FULL, 1, 0.5),
    (What.LEAVE, 2, 0.4),
    (What.DEAF, 3, 1.0),
    (What.MUTE, 2, 0.5),
)
_OF_WORKERS = (
    (What.KILL, 3, 1.0),
    (What.STOP, 2, 1.0),
    (What.FULL, 2, 0.3),
    (What.AWAY, 1, 0.3),
    (What.LEAVE, 1, 0.3),
    (What.EMPTY, 1, 0.3),
    (What.CLONE, 1, 0.2),
)
"""What may happen, how often at most, how likely each time."""


def _troubles(chance: Random, ends_s: float, servers: tuple[str, ...]) -> list[Trouble]:
    of_servers = _OF_SERVER if len(servers) == 1 else _OF_SERVERS
    return [
        _trouble(chance, ends_s, chance.choice(whom), what, _LONGEST_S if len(servers) == 1 else _LONGER_S)
        for whom, table in ((servers, of_servers), (WORKERS, _OF_WORKERS))
        for what, most, likely in table
        for _ in range(chance.randint(0, most))
        if chance.random() < likely
    ]


_CUES = (("claim", 30), ("start", 15), ("complete", 30), ("cancel", 4), ("retry", 3), ("revert", 2), ("give_back", 2))
"""Commits that a kill likes to fall beside, with how many of them a run has."""


_LONGEST_S = (0.5, 3.0, 12.0)
_LONGER_S = (*_LONGEST_S, 25.0)
"""A server is dead after six seconds, its sessions are lost four seconds later."""


def _trouble(chance: Random, ends_s: float, who: str, what: What, longest: tuple[float, ...]) -> Trouble:
    longest_s = chance.choice(longest)
    verb, most = chance.choice(_CUES)
    cue = (verb, chance.randint(1, most)) if what in {What.KILL, What.STOP} and chance.random() < 0.5 else None
    return Trouble(chance.uniform(0.5, ends_s), chance.uniform(0.05, longest_s), who, what, cue)
