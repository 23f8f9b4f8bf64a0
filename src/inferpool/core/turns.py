"""Turns between the lanes of one llm, whose ranks cannot be compared with each other."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from inferpool.core.lanes import SHARES, PriorityClass


class Candidate(Struct, frozen=True):
    """A pending task that could be claimed now, as its lane's index lists it."""

    task_id: bytes | str
    rank: float
    priority: PriorityClass


class Turns:
    """The lanes of one llm (or engine) in turn, a turn costing 1/share of the class that it took.

    Start-time fair queueing: each lane's account says when its next turn begins in the llm's own virtual time, which
    is the begin of the last turn taken. A lane that was empty begins now: it cannot save up turns.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._accounts: dict[str, float] = {}

    def take(self, candidates: Mapping[str, Sequence[Candidate]], free: int) -> list[Candidate]:
        """Pick up to `free` tasks, in the order in which to claim them.

        `candidates` holds for each lane its first claimable tasks, by (rank, id); that order is kept. Between lanes
        that are equally due the earlier one of the mapping goes first.
        """
        waiting = {lane: iter(tasks) for lane, tasks in candidates.items()}
        taken: list[Candidate] = []
        while waiting and len(taken) < free:
            lane = min(waiting, key=self._begin)
            task = next(waiting[lane], None)
            if task is None:
                del waiting[lane]
                continue
            self._charge(lane, task.priority)
            taken.append(task)
        self._forget_past()
        return taken

    def _begin(self, lane: str) -> float:
        return max(self._now, self._accounts.get(lane, 0.0))

    def _charge(self, lane: str, priority: PriorityClass) -> None:
        self._now = self._begin(lane)
        self._accounts[lane] = self._now + 1.0 / SHARES[priority]

    def _forget_past(self) -> None:
        """An account that is not ahead of now says nothing more than its absence."""
        self._accounts = {lane: begin for lane, begin in self._accounts.items() if begin > self._now}
