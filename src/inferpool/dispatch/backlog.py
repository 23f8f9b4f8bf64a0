"""What waits: order, bounds, hints of which lanes hold something to claim.

Memory only, made anew from the rows at a start. Rank orders, it never decides correctness, so a small error here costs
a place in the line and nothing else.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from inferpool.core.cost import CostMeter
from inferpool.core.errors import QueueFull
from inferpool.core.lanes import PRIORITY_CLASSES
from inferpool.core.rank import Ranker
from inferpool.core.task import ClaimedTask, PendingTask, Usage
from inferpool.dispatch.options import DispatchOptions
from inferpool.store.protocol import Moved, StoreReader
from inferpool.store.servers_protocol import LaneCount

_PAGE: Final = 10_000


class Backlog:
    """The pending tasks of all lanes, counted and ordered."""

    def __init__(self, options: DispatchOptions, *, shared: bool = False) -> None:
        """`shared`: other servers put tasks in, take tasks out too; what changes here is kept for them."""
        self._options = options
        self._shared = shared
        self._changes: dict[str, tuple[int, int]] = {}
        self._risen: dict[str, float] = {}
        self._meter = CostMeter()
        self._waiting: dict[str, int] = {}
        self._lanes: dict[str, int] = {}
        self._stamp = 0
        self.ranker = Ranker(shared=shared)
        self.count = 0
        """Pending tasks."""
        self.size = 0
        """Bytes of their requests."""

    async def recall(self, reader: StoreReader) -> None:
        """Read clocks, then pending tasks back at a start."""
        for lane, clock in await reader.clocks():
            self.ranker.restore_clock(lane, clock)
        after = None
        while page := await reader.pending(after, _PAGE):
            for task in page:
                self._restore(task)
            after = page[-1].task_id

    def _restore(self, task: PendingTask) -> None:
        self.ranker.restore_pending(task.lane, task.owner, PRIORITY_CLASSES[task.priority], task.rank)
        self._add(task.lane, 1, task.size)
        if task.ready:
            self.mark(task.lane)

    def pending(self, lane: str) -> int:
        """Pending tasks of one lane, those that back off too."""
        return max(0, self._lanes.get(lane, 0))

    def lanes(self) -> list[str]:
        """The lanes in which something waits."""
        return [lane for lane, waiting in self._lanes.items() if waiting > 0]

    def estimate(self, lane: str, rank: float) -> int:
        """About how many tasks stand before this rank, from where it lies between the lane's clock and its end."""
        clock, end = self.ranker.clock(lane), self.ranker.end(lane)
        share = (rank - clock) / (end - clock) if end > clock else 1.0
        return round(self.pending(lane) * min(max(share, 0.0), 1.0))

    def changes(self) -> dict[str, tuple[int, int]]:
        """By how many tasks, how many bytes each lane grew here since the last call."""
        changes, self._changes = self._changes, {}
        return changes

    def rising_clocks(self) -> list[tuple[str, float]]:
        """The lanes whose clock rose by claims here since the last call, for the store to keep; the others hear of them too."""
        clocks = self.ranker.dirty_clocks()
        if self._shared:
            self._risen.update(clocks)
        return clocks

    def risen_clocks(self) -> dict[str, float]:
        """The same, for the other servers: since their last call."""
        risen, self._risen = self._risen, {}
        return risen

    def elsewhere(self, lane: str, tasks: int, size: int) -> None:
        """Other servers put so much into the lane, or took it out (then less than 0).

        What one of them takes may be told before it was told who put it in: a lane may hold less than nothing for a moment.
        """
        self._add(lane, tasks, size)

    def recount(self, counts: Sequence[LaneCount]) -> None:
        """Take what the rows say in place of what was told."""
        self._lanes = {one.lane: one.tasks for one in counts}
        self.count = sum(one.tasks for one in counts)
        self.size = sum(one.size for one in counts)

    def _count(self, lane: str, tasks: int, size: int) -> None:
        """More tasks (or fewer) are pending in the lane, of this size together."""
        if self._shared:
            before = self._changes.get(lane, (0, 0))
            self._changes[lane] = (before[0] + tasks, before[1] + size)
        self._add(lane, tasks, size)

    def _add(self, lane: str, tasks: int, size: int) -> None:
        self.count += tasks
        self.size += size
        waiting = self._lanes.get(lane, 0) + tasks
        if waiting:
            self._lanes[lane] = waiting
        else:
            self._lanes.pop(lane, None)

    def admit(self, size: int) -> None:
        """Raises `QueueFull` when a task of `size` bytes would not fit any more."""
        options = self._options
        if self.count >= options.queue_tasks:
            raise QueueFull(f"the queue holds {self.count} tasks, its limit; try again later", retry_after_s=10)
        if self.size + size > options.queue_bytes:
            raise QueueFull(f"the queue holds {self.size} bytes, its limit; try again later", retry_after_s=10)

    def rank(self, lane: str, owner: str, priority: str) -> float:
        """The rank of a new task, which is pending from now on as far as order goes."""
        of_class = PRIORITY_CLASSES[priority]
        return self.ranker.enqueue(lane, owner, of_class, self._meter.cost(lane, owner, of_class))

    def front(self, lane: str) -> float:
        """The rank of a task that a free slot takes at once: where the lane stands. It passes nobody, so it moves nobody."""
        return self.ranker.clock(lane)

    def entered(self, lane: str, size: int) -> None:
        """A ranked task is stored as pending: count it, its lane has something to claim."""
        self._count(lane, 1, size)
        self.mark(lane)

    def refused(self, lane: str, owner: str, priority: str, rank: float) -> None:
        """A ranked task was never stored."""
        self.ranker.withdrawn(lane, owner, PRIORITY_CLASSES[priority], rank)

    def claimed(self, tasks: Iterable[ClaimedTask]) -> None:
        """Pending tasks were claimed."""
        for task in tasks:
            self._count(task.lane, -1, -len(task.request))
            self.ranker.claimed(task.lane, task.owner, PRIORITY_CLASSES[task.priority], task.rank)

    def left(self, task: Moved) -> None:
        """A pending task ended, or was adopted by the session that had lost it."""
        self._count(task.lane, -1, -task.size)
        self.ranker.withdrawn(task.lane, task.owner, PRIORITY_CLASSES[task.priority], task.rank)

    def came_back(self, task: Moved) -> None:
        """A held task is pending again, with its old rank."""
        self._count(task.lane, 1, task.size)
        self.ranker.returned(task.lane, task.owner, PRIORITY_CLASSES[task.priority], task.rank)
        if task.ready:
            self.mark(task.lane)

    def spent(self, lane: str, owner: str, priority: str, usage: Usage | None) -> None:
        """A task of the flow cost this many tokens: the next ones are ranked by it."""
        if usage is not None:
            tokens = usage.prompt_tokens + usage.completion_tokens
            self._meter.observe(lane, owner, PRIORITY_CLASSES[priority], tokens)

    def mark(self, lane: str) -> None:
        """The lane may hold a ready task."""
        self._stamp += 1
        self._waiting[lane] = self._stamp

    @property
    def drained_everywhere(self) -> bool:
        """No lane holds anything to claim, as far as this server knows."""
        return not self._waiting

    def mark_of(self, lane: str) -> int:
        """The lane's newest mark; 0: nothing to claim there, as far as this server knows."""
        return self._waiting.get(lane, 0)

    def drained(self, lane: str, mark: int) -> None:
        """A claim found the lane empty; a mark newer than `mark` stays."""
        if self._waiting.get(lane) == mark:
            del self._waiting[lane]
