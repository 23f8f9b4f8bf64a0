"""Every interval with every bound that dispatch obeys, as one frozen value.

The defaults are the italic numbers of the spec. Settings fill them in (compose.py); journeys shorten the intervals.
"""

import msgspec

from inferpool.core.clock import DAY, HOUR, Micros


class DispatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds where a name ends in `_s` (the event loop's time), microseconds where the database's clock decides."""

    grace_s: float = 10.0
    """How long a session whose channel is lost may stay away before its tasks revert."""
    heartbeat_s: float = 5.0
    """At most this long between two events batches of a worker."""
    silence_s: float = 15.0
    """A channel whose worker says nothing for this long is lost."""
    ping_s: float = 5.0
    """How often an idle channel carries a ping."""
    slot_release_s: float = 10.0
    """After a cancel frame, a slot is free this much later even if the worker says nothing."""
    poll_s: float = 1.0
    """The poll that backs up every wakeup."""
    beat_s: float = 2.0
    """How often the server writes its heartbeat, with those of its sessions."""
    sweep_s: float = 60.0
    """How often each sweep runs."""
    sweep_limit: int = 50
    """Rows that a sweep takes in one transaction."""
    wait_limit_s: float = 600.0
    """How long a blocked caller waits at most."""
    run_limit: Micros = HOUR
    """How long one attempt may run."""
    stale_after: Micros = 90_000_000
    """A session whose heartbeat is older is lost, whoever served it."""
    forget_after: Micros = 4 * HOUR
    """An inactive session is deleted this much later."""
    keep_tasks: Micros = 7 * DAY
    keep_chunks: Micros = HOUR
    keep_keys: Micros = DAY
    keep_audit: Micros = 90 * DAY
    queue_tasks: int = 1_000_000
    """Pending tasks that the queue holds at most."""
    queue_bytes: int = 50 * 10**9
    """Bytes of pending requests that the queue holds at most."""
    stream_bytes: int = 64 * 2**20
    """Bytes of one attempt's chunks; a longer answer ends in an error."""
    feed_bytes: int = 512 * 2**20
    """Bytes of chunks in memory above which nothing new is claimed."""
