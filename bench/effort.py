"""How much a run measures."""

from typing import Final

import msgspec


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the rounds. Ours alternates with its limit `rounds` times."""

    rounds: int = 5
    calls: int = 6000
    """Calls a round of the sync row."""
    streams: int = 200
    chunks: int = 500
    """Chunks of each stream a round."""
    singles: int = 300
    """Calls of the one caller a round."""
    store_s: float = 3.0
    """Seconds of a round of the store."""
    backlog: int = 1_000_000
    few: int = 1_000
    flows: int = 1_000
    backlog_calls: int = 1_000
    """Tasks enqueued, then claimed, a round."""
    restart_rows: int = 100_000
    waiters: int = 10_000
    expired: int = 1_000_000
    """Rows for the sweep."""
    sweep_calls: int = 2_000
    """Calls a round beside the sweep."""
    across_calls: int = 100
    """Calls a round of the one caller at another server than its worker's."""
    jobs: int = 400
    """Jobs, calls a round beside other queues."""
    waiting: int = 1_000_000
    ended: int = 4_000_000
    """Rows of the store whose routes are read."""
    settle_s: float = 1.05
    """A connection of PostgreSQL tells what it read at the end of a statement, unless it did within the last second."""
    late_s: float = 11.0
    """One that nobody asks again tells after ten seconds."""


FULL: Final = Effort()
QUICK: Final = Effort(
    rounds=2,
    calls=1500,
    chunks=100,
    singles=100,
    store_s=1.0,
    backlog=50_000,
    backlog_calls=300,
    restart_rows=10_000,
    waiters=1_000,
    expired=100_000,
    sweep_calls=1_000,
    across_calls=30,
    jobs=200,
    waiting=20_000,
    ended=80_000,
)
