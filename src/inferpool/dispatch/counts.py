"""How much waits in each lane, kept in step with what other servers put in or take out."""

from collections.abc import Sequence

from inferpool.store.servers_protocol import LaneCount


class Counts:
    """Pending tasks with the bytes of their requests: by lane, in all."""

    def __init__(self, *, shared: bool) -> None:
        """`shared`: other servers put tasks in, take tasks out too; what changes here is kept for them."""
        self._shared = shared
        self._lanes: dict[str, int] = {}
        self._changes: dict[str, tuple[int, int]] = {}
        self.tasks = 0
        self.size = 0

    def pending(self, lane: str) -> int:
        """Pending tasks of one lane, those that back off too."""
        return max(0, self._lanes.get(lane, 0))

    def lanes(self) -> list[str]:
        """The lanes in which something waits."""
        return [lane for lane, waiting in self._lanes.items() if waiting > 0]

    def grow(self, lane: str, tasks: int, size: int) -> None:
        """More tasks (or fewer) are pending in the lane by what happened here, of this size together."""
        if self._shared:
            before = self._changes.get(lane, (0, 0))
            self._changes[lane] = (before[0] + tasks, before[1] + size)
        self.know(lane, tasks, size)

    def know(self, lane: str, tasks: int, size: int) -> None:
        """The same by what happened elsewhere, or before.

        What another server takes may be told before it is told who put it in: a lane may hold less than nothing for a moment.
        """
        self.tasks += tasks
        self.size += size
        waiting = self._lanes.get(lane, 0) + tasks
        if waiting:
            self._lanes[lane] = waiting
        else:
            self._lanes.pop(lane, None)

    def changes(self) -> dict[str, tuple[int, int]]:
        """By how many tasks, how many bytes each lane grew here since the last call."""
        changes, self._changes = self._changes, {}
        return changes

    def recount(self, counts: Sequence[LaneCount]) -> None:
        """Take what the rows say in place of what was told."""
        self._lanes = {one.lane: one.tasks for one in counts}
        self.tasks = sum(one.tasks for one in counts)
        self.size = sum(one.size for one in counts)
