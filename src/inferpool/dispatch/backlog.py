"""What waits: order, bounds, hints of which lanes hold something to claim.

Memory only, made anew from the rows at a start. Rank orders, it never decides correctness, so a small error here costs
a place in the line and nothing else.
"""

from collections.abc import Iterable
from typing import Final

from inferpool.core.cost import CostMeter
from inferpool.core.errors import QueueFull
from inferpool.core.lanes import PRIORITY_CLASSES
from inferpool.core.rank import Ranker
from inferpool.core.task import ClaimedTask, Usage
from inferpool.dispatch.counts import Counts
from inferpool.dispatch.options import DispatchOptions
from inferpool.store.protocol import Moved, StoreReader

_PAGE: Final = 10_000


class Backlog:
    """The pending tasks of all lanes, counted and ordered."""

    def __init__(self, options: DispatchOptions, *, shared: bool = False) -> None:
        """`shared`: other servers put tasks in, take tasks out too; what changes here is kept for them."""
        self._options = options
        self._shared = shared
        self.counts = Counts(shared=shared)
        self._risen: dict[str, float] = {}
        self._meter = CostMeter()
        self._waiting: dict[str, int] = {}
        self._stamp = 0
        self.ranker = Ranker(shared=shared)

    async def recall(self, reader: StoreReader) -> None:
        """Read clocks, then pending tasks back at a start."""
        for lane, clock in await reader.clocks():
            self.ranker.restore_clock(lane, clock)
        after = None
        while page := await reader.pending(after, _PAGE):
            for task in page:
                self.ranker.restore_pending(task.lane, task.owner, PRIORITY_CLASSES[task.priority], task.rank)
                self.counts.know(task.lane, 1, task.size)
                if task.ready:
                    self.mark(task.lane)
            after = page[-1].task_id

    def pending(self, lane: str) -> int:
        """Pending tasks of one lane, those that back off too."""
        return self.counts.pending(lane)

    def lanes(self) -> list[str]:
        """The lanes in which something waits."""
        return self.counts.lanes()

    def estimate(self, lane: str, rank: float) -> int:
        """About how many tasks stand before this rank, from where it lies between the lane's clock and its end."""
        clock, end = self.ranker.clock(lane), self.ranker.end(lane)
        share = (rank - clock) / (end - clock) if end > clock else 1.0
        return round(self.pending(lane) * min(max(share, 0.0), 1.0))

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

    def admit(self, size: int) -> None:
        """Raises `QueueFull` when a task of `size` bytes would not fit any more."""
        options = self._options
        if self.counts.tasks >= options.queue_tasks:
            raise QueueFull(f"the queue holds {self.counts.tasks} tasks, its limit; try again later", retry_after_s=10)
        if self.counts.size + size > options.queue_bytes:
            raise QueueFull(f"the queue holds {self.counts.size} bytes, its limit; try again later", retry_after_s=10)

    def rank(self, lane: str, owner: str, priority: str) -> float:
        """The rank of a new task, which is pending from now on as far as order goes."""
        of_class = PRIORITY_CLASSES[priority]
        return self.ranker.enqueue(lane, owner, of_class, self._meter.cost(lane, owner, of_class))

    def front(self, lane: str) -> float:
        """The rank of a task that a free slot takes at once: where the lane stands. It passes nobody, so it moves nobody."""
        return self.ranker.clock(lane)

    def entered(self, lane: str, size: int) -> None:
        """A ranked task is stored as pending: count it, its lane has something to claim."""
        self.counts.grow(lane, 1, size)
        self.mark(lane)

    def refused(self, lane: str, owner: str, priority: str, rank: float) -> None:
        """A ranked task was never stored."""
        self.ranker.withdrawn(lane, owner, PRIORITY_CLASSES[priority], rank)

    def claimed(self, tasks: Iterable[ClaimedTask]) -> None:
        """Pending tasks were claimed."""
        for task in tasks:
            self.counts.grow(task.lane, -1, -len(task.request))
            self.ranker.claimed(task.lane, task.owner, PRIORITY_CLASSES[task.priority], task.rank)

    def left(self, task: Moved) -> None:
        """A pending task ended, or was adopted by the session that had lost it."""
        self.counts.grow(task.lane, -1, -task.size)
        self.ranker.withdrawn(task.lane, task.owner, PRIORITY_CLASSES[task.priority], task.rank)

    def came_back(self, task: Moved) -> None:
        """A held task is pending again, with its old rank."""
        self.counts.grow(task.lane, 1, task.size)
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
