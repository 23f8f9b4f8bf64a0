"""How badly the network treats requests, at one time of a run."""

from enum import Enum
from random import Random

import msgspec


class Fate(Enum):
    """What becomes of one request."""

    DIRECT = "direct"
    LOST = "lost"
    """Never delivered: the sender sees an error, at once or when its patience ends."""
    ANSWER_LOST = "answer lost"
    """Delivered, processed; the sender sees an error instead of the answer."""
    REPEATED = "repeated"
    """Delivered twice; the sender sees the first answer."""
    LATE = "late"
    """Delivered after the sender gave up."""
    CUT = "cut"
    """Delivered; the connection breaks some time later, each side notices by itself."""


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """Chances from 0 to 1 that one request meets each fate, delays in seconds."""

    lost: float = 0.0
    answer_lost: float = 0.0
    repeated: float = 0.0
    late: float = 0.0
    cut: float = 0.0
    half_open: float = 0.0
    """Of a cut: that a side does not notice for up to a minute."""
    cut_after_s: float = 20.0
    """At most this long after the connection was made."""
    latency_s: float = 0.005
    """Of a message, at most."""
    jam: float = 0.0
    """That a message takes up to two seconds."""

    def fate(self, chance: Random) -> Fate:
        """Draw what becomes of one request."""
        at = chance.random()
        for fate, share in (
            (Fate.LOST, self.lost),
            (Fate.ANSWER_LOST, self.answer_lost),
            (Fate.REPEATED, self.repeated),
            (Fate.LATE, self.late),
            (Fate.CUT, self.cut),
        ):
            at -= share
            if at < 0:
                return fate
        return Fate.DIRECT

    def latency(self, chance: Random) -> float:
        """Draw how long one message is under way."""
        if self.jam and chance.random() < self.jam:
            return chance.uniform(0.1, 2.0)
        return chance.uniform(0.0001, self.latency_s)


CALM = Weather()


def storm(chance: Random) -> Weather:
    """A mixture of troubles that is a seed's own: some absent, some frequent."""
    shares = [chance.choice((0.0, 0.0, 0.02, 0.06, 0.15)) for _ in range(5)]
    return Weather(
        lost=shares[0],
        answer_lost=shares[1],
        repeated=shares[2],
        late=shares[3],
        cut=shares[4],
        half_open=chance.choice((0.0, 0.2)),
        cut_after_s=chance.choice((0.05, 2.0, 20.0)),
        latency_s=chance.choice((0.001, 0.005, 0.05)),
        jam=chance.choice((0.0, 0.0, 0.02)),
    )
