"""What this server does about rows that a rule moved: slots stop, order counts, watchers hear of it."""

from collections.abc import Iterable

from inferpool.core.errors import Code
from inferpool.core.lifecycle import TERMINAL, Status
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
        session = self._catalog.sessions.get(task.session_id) if task.session_id else None
        held = session.held.get((task.task_id, task.attempt)) if session else None
        why = "cancelled" if task.status is Status.CANCELLED else "stale"
        if session is None and task.status in TERMINAL:
            self._announcer.taken(task, why)
        elif session and held and task.status is not Status.CLAIMED:
            self._scheduler.stop(session, held, why)

    def _ended(self, task: Moved) -> None:
        if task.session_id is None:
            self._backlog.left(task)
            self._announcer.withdrawn(task)
        self._announcer.ended(self._feed.find(task.task_id), task.task_id, task.attempt)
        if self._feed.find(task.task_id) is not None:
            self._background.spawn(self._feed.settle(task.task_id), "settle")

    def over(self, held: Held) -> None:
        """The attempt ended by way of another server: who follows it here may have its task's end to read."""
        self._feed.over(held.strand, held.attempt)
        if self._feed.find(held.task_id) is not None:
            self._background.spawn(self._feed.settle(held.task_id), "settle")

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
