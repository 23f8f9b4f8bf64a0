"""What this server does about rows that a rule moved: slots stop, order counts, watchers hear of it."""

from collections.abc import Iterable

from inferpool.core.errors import Code
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import TERMINAL, Status
from inferpool.core.stream import Place
from inferpool.dispatch.scheduler import Scheduler
from inferpool.dispatch.shared import Shared
from inferpool.dispatch.slots import Held
from inferpool.store.protocol import Moved


class Moves:
    """Applies the consequences of moved rows in memory."""

    def __init__(self, shared: Shared, scheduler: Scheduler) -> None:
        self._catalog = shared.catalog
        self._backlog = shared.backlog
        self._feed = shared.feed
        self._background = shared.background
        self._tally = shared.tally
        self._announcer = shared.announcer
        self._scheduler = scheduler

    def apply(self, moved: Iterable[Moved], code: Code = Code.WORKER_LOST) -> None:
        """Reverted, adopted or ended rows: each touches its slot, the backlog, its watchers. `code` is why some ended."""
        for task in moved:
            self._stop(task)
            if task.status is Status.PENDING:
                self._tally.reverted["lost"] += 1
                self._backlog.came_back(task)
                self._feed.lost(task.task_id)
                self._scheduler.call(task.lane)
            elif task.status is Status.CLAIMED:
                self._tally.adopted += 1
                self._backlog.left(task)
            else:
                self._tally.ended[task.status, code] += 1
                self._ended(task)

    def _stop(self, task: Moved) -> None:
        found = self._catalog.held(task.session_id, task.task_id, task.attempt)
        why = "cancelled" if task.status is Status.CANCELLED else "stale"
        if task.session_id not in self._catalog.sessions and task.status in TERMINAL:
            self._announcer.taken(task, why)
        elif found and task.status is not Status.CLAIMED:
            self._scheduler.stop(*found, why)

    def _ended(self, task: Moved) -> None:
        if task.session_id is None:
            self._backlog.left(task)
            self._announcer.withdrawn(task)
        self._announcer.ended(self._feed.find(task.task_id), task.task_id, task.attempt)
        self.settle(task.task_id)

    def over(self, held: Held) -> None:
        """The attempt ended by way of another server: who follows it here may have its task's end to read."""
        self._feed.over(held.strand, held.attempt)
        self.settle(held.task_id)

    def settle(self, task_id: TaskId, told: Place | None = None) -> None:
        """Read the end for those who follow the task here, if there are any; `told`: see `Feed.settle`."""
        if self._feed.find(task_id) is not None:
            self._background.spawn(self._feed.settle(task_id, told), "settle")

    def ready(self, moved: Iterable[Moved]) -> None:
        """Pending rows whose back-off is over."""
        for task in moved:
            self._backlog.mark(task.lane)
            self._scheduler.call(task.lane)

    def waiting(self, lanes: Iterable[str]) -> None:
        """Lanes in which the poll saw a ready row."""
        for lane in lanes:
            self._backlog.mark(lane)
            self._scheduler.kick(lane)
