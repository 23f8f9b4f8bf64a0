"""The other servers of the same database as this one knows them, by their rows, by their ticks."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from inferpool.core.ids import ServerId
from inferpool.dispatch.notes import Tick

SILENT_S: Final = 5.0
"""What a server told once a second is taken to hold for so long."""


class _Peer(msgspec.Struct):
    heard_at: float
    free: dict[str, int] = {}
    paces: dict[str, float] = {}
    running: dict[str, int] = {}


class Peers:
    """What is known of them at the moment."""

    def __init__(self) -> None:
        self._alive: set[ServerId] = set()
        self._told: dict[ServerId, _Peer] = {}

    @property
    def any(self) -> bool:
        """Whether there is another server to be told of anything."""
        return bool(self._alive)

    def present(self, server_ids: Iterable[ServerId], now: float) -> set[ServerId]:
        """These have a fresh heartbeat; gives those that had one before."""
        before, self._alive = self._alive, set(server_ids)
        for server_id in [one for one, peer in self._told.items() if now - peer.heard_at > SILENT_S]:
            del self._told[server_id]
        return before - self._alive

    def ticked(self, server_id: ServerId, tick: Tick, now: float) -> None:
        """One of them told how it stands."""
        self._alive.add(server_id)
        self._told[server_id] = _Peer(
            heard_at=now,
            free={news.lane: news.free for news in tick.lanes if news.free > 0},
            paces={news.lane: news.mean_s for news in tick.lanes if news.mean_s > 0},
            running=tick.running,
        )

    def free(self, lane: str) -> int:
        """Slots elsewhere that a task of the lane would be given at once."""
        return sum(peer.free.get(lane, 0) for peer in self._told.values())

    def pace(self, lane: str) -> float | None:
        """The mean run of the lane's tasks in seconds, over those that know one."""
        means = [peer.paces[lane] for peer in self._told.values() if lane in peer.paces]
        return sum(means) / len(means) if means else None

    def running(self) -> Counter[str]:
        """Attempts under way elsewhere, by pool."""
        total: Counter[str] = Counter()
        for peer in self._told.values():
            total.update(peer.running)
        return total
