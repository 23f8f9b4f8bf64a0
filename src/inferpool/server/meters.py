"""Every metric of `/metrics`: its name, what it means, where its numbers come from.

Names follow the conventions of Prometheus ("Metric and label naming" in its manual): base units, `_total` for what only
grows. The words are those of the API. Each server tells of itself alone: sums over servers are the collector's work.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from inferpool.core.histogram import Histogram
from inferpool.dispatch.gauges import PoolGauge, engines
from inferpool.dispatch.service import Dispatch

Labels: TypeAlias = tuple[str, ...]
Numbers: TypeAlias = Mapping[Labels, float]


class Meter(msgspec.Struct, frozen=True):
    """A number, or one for each combination of labels that occurred. A `total` only grows."""

    name: str
    help: str
    read: Callable[[Dispatch], Numbers]
    labels: Labels = ()
    total: bool = False


class PoolMeter(msgspec.Struct, frozen=True):
    """A number of each pool."""

    name: str
    help: str
    read: Callable[[PoolGauge], float]


class Spread(msgspec.Struct, frozen=True):
    """A histogram."""

    name: str
    help: str
    read: Callable[[Dispatch], Histogram]


def _one(number: float) -> Numbers:
    return {(): number}


def _each(counts: Mapping[str, int]) -> Numbers:
    return {(label,): count for label, count in counts.items()}


METERS: Final = (
    Meter(
        "inferpool_tasks_enqueued_total",
        "Tasks made.",
        lambda dispatch: _each(dispatch.tally.enqueued),
        ("endpoint",),
        total=True,
    ),
    Meter(
        "inferpool_tasks_ended_total",
        "Tasks that came to their end, by its status with the code of what went wrong.",
        lambda dispatch: {(status, code): count for (status, code), count in dispatch.tally.ended.items()},
        ("status", "code"),
        total=True,
    ),
    Meter(
        "inferpool_attempts_claimed_total",
        "Attempts begun.",
        lambda dispatch: _one(dispatch.tally.claimed),
        total=True,
    ),
    Meter(
        "inferpool_attempts_retried_total",
        "Attempts that failed, after which their task waits for another try.",
        lambda dispatch: _one(dispatch.tally.retried),
        total=True,
    ),
    Meter(
        "inferpool_attempts_reverted_total",
        "Attempts that gave their task back without an answer: returned by the worker, or lost with its session.",
        lambda dispatch: _each(dispatch.tally.reverted),
        ("reason",),
        total=True,
    ),
    Meter(
        "inferpool_attempts_adopted_total",
        "Reverted tasks that the session which had lost them took up again.",
        lambda dispatch: _one(dispatch.tally.adopted),
        total=True,
    ),
    Meter(
        "inferpool_attempts_refused_total",
        "Attempts of which something a worker said was refused: they are not its any more, or a part is missing.",
        lambda dispatch: _each(dispatch.tally.refused),
        ("reason",),
        total=True,
    ),
    Meter(
        "inferpool_requests_declined_total",
        "Requests that this server answered with an error of its own, by the error's code.",
        lambda dispatch: _each(dispatch.tally.declined),
        ("code",),
        total=True,
    ),
    Meter(
        "inferpool_chunks_total",
        "Parts of streamed answers taken from workers.",
        lambda dispatch: _one(dispatch.tally.chunks),
        total=True,
    ),
    Meter(
        "inferpool_tasks_pending",
        "Tasks that wait in the queue.",
        lambda dispatch: _one(dispatch.backlog.counts.tasks),
    ),
    Meter(
        "inferpool_tasks_pending_bytes",
        "Size of the requests that wait in the queue.",
        lambda dispatch: _one(dispatch.backlog.counts.size),
    ),
    Meter(
        "inferpool_sessions",
        "Sessions of workers that have a channel to this server.",
        lambda dispatch: _one(sum(session.open for session in dispatch.catalog.sessions.values())),
    ),
    Meter(
        "inferpool_slots",
        "Slots of the engines behind those sessions.",
        lambda dispatch: _one(sum(engine.slots for engine in engines(dispatch.catalog))),
    ),
    Meter(
        "inferpool_slots_busy",
        "Slots that an attempt holds.",
        lambda dispatch: _one(sum(engine.used for engine in engines(dispatch.catalog))),
    ),
    Meter(
        "inferpool_callers_blocked",
        "Callers that wait for an answer on an open connection.",
        lambda dispatch: _one(dispatch.feed.callers.blocked),
    ),
    Meter(
        "inferpool_stream_bytes",
        "Parts of streamed answers that are kept in memory for their watchers.",
        lambda dispatch: _one(dispatch.feed.size),
    ),
)
"""Everything that is counted of the server as a whole."""

POOL_METERS: Final = (
    PoolMeter(
        "inferpool_pool_tasks_pending",
        "Tasks that wait for a pool, or for an llm of it.",
        lambda pool: pool.pending,
    ),
    PoolMeter(
        "inferpool_pool_slots",
        "Live slots of a pool, busy ones too.",
        lambda pool: pool.slots,
    ),
)
"""Everything that is counted of each pool, from one look at all of them."""

SPREADS: Final = (
    Spread(
        "inferpool_task_wait_seconds",
        "From a task's making to each of its claims.",
        lambda dispatch: dispatch.tally.waits,
    ),
    Spread(
        "inferpool_first_chunk_seconds",
        "From an attempt's hand-over to a worker to the first part of its streamed answer.",
        lambda dispatch: dispatch.tally.first_chunks,
    ),
    Spread(
        "inferpool_attempt_seconds",
        "From an attempt's hand-over to a worker to its whole answer.",
        lambda dispatch: dispatch.tally.runs,
    ),
    Spread(
        "inferpool_store_batch_operations",
        "Operations that one transaction of the store's writer carried.",
        lambda dispatch: dispatch.flushes.operations,
    ),
    Spread(
        "inferpool_store_flush_seconds",
        "How long a transaction of the store's writer took, with its commit.",
        lambda dispatch: dispatch.flushes.seconds,
    ),
    Spread(
        "inferpool_event_loop_lag_seconds",
        "By how much the event loop woke a timer too late, once a second.",
        lambda dispatch: dispatch.tally.lag,
    ),
)
"""Everything of which the spread is told."""
