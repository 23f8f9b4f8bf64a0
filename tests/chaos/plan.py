"""Draws from a seed what breaks, in which order, whom it hits."""

import random
from enum import StrEnum
from typing import Final

import msgspec

from tests.chaos.options import Options


class Kind(StrEnum):
    """What breaks."""

    SERVER_KILLED = "server killed"
    WORKER_KILLED = "worker killed"
    POSTGRES_RESTARTED = "PostgreSQL restarted"
    BACKENDS_TERMINATED = "backends terminated"
    NOTES_DROPPED = "notifications dropped"
    NETWORK_CUT = "network cut"
    SERVER_STOPPED = "server stopped"
    WORKER_STOPPED = "worker stopped"


_OF_SERVERS: Final = {Kind.SERVER_KILLED, Kind.SERVER_STOPPED}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. `target`: which server, or worker. `resumes`: what was under way on a cut network arrives late, or never.

    `overlaps`: the next fault does not wait for this one's end.
    """

    number: int
    kind: Kind
    target: int
    resumes: bool
    overlaps: bool


def draw(options: Options) -> list[Fault]:
    """The faults of a run: each kind as often as any other, what is left over by chance."""
    chance = random.Random(options.seed)
    kinds = list(Kind) * (options.faults // len(Kind))
    kinds += chance.sample(list(Kind), options.faults - len(kinds))
    chance.shuffle(kinds)
    return [
        Fault(
            number=number,
            kind=kind,
            target=chance.randrange(options.servers if kind in _OF_SERVERS else options.workers),
            resumes=chance.random() < 0.5,
            overlaps=chance.random() < options.overlap,
        )
        for number, kind in enumerate(kinds, 1)
    ]
