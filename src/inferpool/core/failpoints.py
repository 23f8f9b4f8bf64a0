"""Named places where a test can stop the program, at the cost of one `if` in production.

Each name is declared here once, so that a test cannot wait for a place that no longer exists.
"""

from collections.abc import Callable
from typing import Final

NAMES: Final = frozenset(
    {
        "enqueue.before_commit",  # the caller's request is parsed, nothing is durable
        "enqueue.after_commit",  # the row is durable, no frame was made of it
        "dispatch.after_frame",  # the infer frame was handed to the channel
        "uplink.before_commit",  # the worker's result is here, not in the store
        "uplink.after_commit",  # the result is durable, neither the caller nor the worker knows
        "stream.after_chunk",  # a chunk went into the feed
        "worker.before_first_chunk",  # the engine was asked, nothing of its answer left the worker
        "worker.after_chunk",  # a chunk is in the outbox
        "worker.after_result",  # the result is in the outbox (on disk), not sent
        "worker.after_send",  # the server took the result, its answer is not read yet
        "register.after_commit",  # the session is registered, the answer is not sent
        "end.before_store",  # how an attempt ended is judged, the store was not asked
        "cancel.before_store",  # a cancel is asked for, the store was not asked
        "claim.before_store",  # a session has room, the store was not asked
        "rescue.before_store",  # a dead server's session is past its grace, the store was not asked
        "bus.before_send",  # there is something to tell the other servers, nothing was sent
    }
)

_armed: dict[str, Callable[[], None]] = {}


def arm(name: str, action: Callable[[], None]) -> None:
    """Run `action` each time the program reaches `name`. Raises `ValueError` for an undeclared name."""
    if name not in NAMES:
        raise ValueError(f"no failpoint is called {name!r}; known: {', '.join(sorted(NAMES))}")
    _armed[name] = action


def disarm() -> None:
    """Forget every armed failpoint."""
    _armed.clear()


def reach(name: str) -> None:
    """Say that the program is at `name`; does nothing unless a test armed it."""
    if _armed and name in _armed:
        _armed[name]()
