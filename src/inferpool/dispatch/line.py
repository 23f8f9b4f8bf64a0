"""Where a waiting task stands in its lane, how long that is likely to last."""

from typing import Final, NamedTuple

from inferpool.core.clock import SECOND, Clock
from inferpool.core.lifecycle import Status
from inferpool.core.task import TaskRow
from inferpool.dispatch.backlog import Backlog
from inferpool.dispatch.pace import Pace
from inferpool.store.protocol import StoreReader

COUNTED: Final = 1_000
"""Places that the store counts; behind them the position is an estimate (spec section 5, "visible line")."""


class Standing(NamedTuple):
    """A pending task's place: 1 is the next to be claimed. `wait_s` is None where nothing is known of the lane's pace.

    A task that backs off waits for that at least.
    """

    position: int
    wait_s: float | None


class Queue:
    """Tells waiting tasks where they stand."""

    def __init__(self, reader: StoreReader, backlog: Backlog, pace: Pace, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._backlog = backlog
        self._pace = pace

    async def standing(self, row: TaskRow) -> Standing | None:
        """The task's place; None unless it is pending."""
        if row.status is not Status.PENDING:
            return None
        position = await self._reader.position(row.id)
        if position is None:  # it was claimed meanwhile
            return None
        if position >= COUNTED:
            position = max(COUNTED, self._backlog.estimate(row.lane, row.rank))
        return Standing(position, self._not_before(row, self._pace.expected_s(row.lane, position)))

    def _not_before(self, row: TaskRow, wait_s: float | None) -> float | None:
        if wait_s is None or row.ready:
            return wait_s
        return max(wait_s, round((row.available_at - self._clock.now_us()) / SECOND, 3))
