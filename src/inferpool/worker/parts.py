"""What a worker is given from outside: transports, a disk, identifiers, time, randomness, a log.

The same worker runs beside a real engine or in a simulation with virtual time, an in-memory network, a seeded source of
randomness: durations follow the running event loop, all else comes in through `WorkerParts`.
"""

from collections.abc import Callable
from typing import NamedTuple

from inferpool.client.transport import Transport
from inferpool.core.clock import Clock, Jitter
from inferpool.core.ids import NewId
from inferpool.worker.disk import Disk
from inferpool.worker.log import Log


class WorkerParts(NamedTuple):
    """The outside world of one worker."""

    server: Transport
    """To the server."""
    engine: Transport
    """To the engine."""
    disk: Disk
    new_id: NewId
    new_secret: Callable[[], str]
    """Makes a session's secret: at least 256 random bits as text."""
    clock: Clock
    jitter: Jitter
    log: Log
