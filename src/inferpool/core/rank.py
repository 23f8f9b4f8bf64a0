"""Ranks that order the tasks of a lane fairly: self-clocked fair queueing (Golestani 1994).

A task's rank is given once, at enqueue: `max(V, the flow's last rank) + cost / (weight x share)`. V, the lane's
clock, is the highest rank ever claimed in it. So whoever comes anew starts beside the others, nobody pays later for
capacity that lay idle, and nothing is ranked again while it waits.

Only ranks above V can ever raise a later rank, and V never falls. So a flow remembers just those, eight bytes each:
what V has passed (claimed, skipped or put back) is dropped as it is met.
"""

from array import array
from bisect import bisect_left, bisect_right
from typing import Final

from inferpool.core.lanes import SHARES, PriorityClass, flow_owner

_SLACK: Final = 64
"""Spent entries that a flow may hold before it is rewritten, so that small flows never are."""


class _Flow:
    """The pending ranks above V of one owner and class in one lane.

    `ranks[head:]` ascends by absolute value. A withdrawn rank stays as its negative until an end or a rewrite
    reaches it, which costs no memory; the last entry is never a withdrawn one. All steps are amortised O(1),
    `withdraw` is O(log n).
    """

    __slots__ = ("dead", "head", "pushed", "ranks")

    def __init__(self) -> None:
        self.ranks = array("d")
        self.head = 0
        self.dead = 0
        self.pushed = 0.0

    def last(self, clock: float) -> float:
        """The rank behind which this flow's next task stands; at least `clock`."""
        own = self.ranks[-1] if self.head < len(self.ranks) else 0.0
        return max(clock, own, self.pushed)

    def is_spent(self, clock: float) -> bool:
        """Whether forgetting this flow changes no rank to come."""
        return self.head == len(self.ranks) and self.pushed <= clock

    def add(self, rank: float) -> None:
        """Remember a pending rank; fast when it is the flow's highest."""
        if self.head == len(self.ranks) or rank >= self.ranks[-1]:
            self.ranks.append(rank)
        else:
            self.ranks.insert(bisect_right(self.ranks, rank, lo=self.head, key=abs), rank)

    def pass_to(self, clock: float) -> None:
        """Drop the ranks that the lane's clock has passed."""
        ranks, head, end = self.ranks, self.head, len(self.ranks)
        while head < end and ranks[head] <= clock:
            if ranks[head] < 0.0:
                self.dead -= 1
            head += 1
        if head > _SLACK and 2 * head > end:
            del ranks[:head]
            head = 0
        self.head = head

    def withdraw(self, rank: float) -> None:
        """Forget one pending rank; one that is not here (claimed elsewhere, passed) is ignored."""
        ranks = self.ranks
        at = bisect_left(ranks, rank, lo=self.head, key=abs)
        while at < len(ranks) and ranks[at] == -rank:
            at += 1
        if at == len(ranks) or ranks[at] != rank:
            return
        ranks[at] = -rank
        self.dead += 1
        self._drop_dead()

    def _drop_dead(self) -> None:
        ranks = self.ranks
        while len(ranks) > self.head and ranks[-1] < 0.0:
            ranks.pop()
            self.dead -= 1
        if self.dead > _SLACK and 2 * self.dead > len(ranks) - self.head:
            self.ranks = array("d", [rank for rank in ranks[self.head :] if rank > 0.0])
            self.head = self.dead = 0


class Ranker:
    """Gives ranks, from memory alone: each lane's clock beside its flows' pending ranks.

    Flows without pending tasks take no memory; a lane without any keeps its clock, one number a name. Ranks decide
    the order only, so a call too few (a task that another server claimed) misplaces somebody for a while and breaks
    nothing. A task that the store did not take is `withdrawn`.

    `shared` is for several servers on one store: what this one adds to flows is then kept for `added_here`.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._clocks: dict[str, float] = {}
        self._ends: dict[str, float] = {}
        self._flows: dict[str, dict[tuple[str, PriorityClass], _Flow]] = {}
        self._dirty: set[str] = set()
        self._shared = shared
        self._added: dict[tuple[str, str, PriorityClass], float] = {}

    def clock(self, lane: str) -> float:
        """V: the highest rank ever claimed in the lane, 0 before the first."""
        return self._clocks.get(lane, 0.0)

    def end(self, lane: str) -> float:
        """The highest rank given since the lane was last empty, its clock where none is higher.

        That task may have been withdrawn since: it is the end of the line about, known without a look at every flow.
        """
        return max(self.clock(lane), self._ends.get(lane, 0.0))

    def flow_count(self) -> int:
        """How many flows are remembered, over all lanes."""
        return sum(map(len, self._flows.values()))

    def entry_count(self) -> int:
        """How many ranks of eight bytes are remembered, over all flows: about twice the pending tasks at most."""
        return sum(len(flow.ranks) for flows in self._flows.values() for flow in flows.values())

    def enqueue(self, lane: str, owner: str, priority: PriorityClass, cost: float = 1.0, weight: float = 1.0) -> float:
        """Give the rank of a new (or replayed) task, remembered as pending.

        `cost` is relative to the lane's usual task, `weight` the owner's. Raises ValueError unless both are positive.
        """
        if not (cost > 0.0 and weight > 0.0):
            raise ValueError(f"cost {cost} or weight {weight} is not positive")
        step = cost / (weight * SHARES[priority])
        clock = self.clock(lane)
        flow = self._flow(lane, owner, priority)
        flow.pass_to(clock)
        rank = flow.last(clock) + step
        self._add(lane, flow, rank)
        if self._shared:
            key = (lane, flow_owner(owner, priority), priority)
            self._added[key] = self._added.get(key, 0.0) + step
        return rank

    def claimed(self, lane: str, owner: str, priority: PriorityClass, rank: float) -> None:
        """A task left the queue to run: the lane's clock rises to its rank (it never falls)."""
        if rank > self.clock(lane):
            self._clocks[lane] = rank
            self._dirty.add(lane)
        self._settle(lane, owner, priority)

    def withdrawn(self, lane: str, owner: str, priority: PriorityClass, rank: float) -> None:
        """A pending task was cancelled, expired or never stored: its flow does not pay for it."""
        flow = self._flows.get(lane, {}).get((flow_owner(owner, priority), priority))
        if flow is not None:
            flow.withdraw(rank)
            self._settle(lane, owner, priority)

    def returned(self, lane: str, owner: str, priority: PriorityClass, rank: float) -> None:
        """A held task is pending again (retry, revert, give back) with the rank that it had.

        It was claimed once, so V reached its rank already, and it holds up none of its flow. Only a clock read back
        a moment too old is put right by this.
        """
        self.claimed(lane, owner, priority, rank)

    def dirty_clocks(self) -> list[tuple[str, float]]:
        """The lanes whose V rose by claims here since the last call, for the store to keep."""
        changed = [(lane, self._clocks[lane]) for lane in sorted(self._dirty)]
        self._dirty.clear()
        return changed

    def restore_clock(self, lane: str, clock: float) -> None:
        """Take a lane's stored V at a start, before its pending tasks."""
        self._clocks[lane] = max(clock, self.clock(lane))

    def restore_pending(self, lane: str, owner: str, priority: PriorityClass, rank: float) -> None:
        """Take a pending task's stored rank at a start; fast in the order of ranks, right in any."""
        if rank > self.clock(lane):
            self._add(lane, self._flow(lane, owner, priority), rank)

    def merge_clock(self, lane: str, clock: float) -> None:
        """Take another server's V of a lane: the higher one holds.

        It also drops the ranks of tasks that other servers claimed meanwhile.
        """
        self.restore_clock(lane, clock)
        for owner, priority in list(self._flows.get(lane, ())):
            self._settle(lane, owner, priority)

    def added_elsewhere(self, lane: str, owner: str, priority: PriorityClass, amount: float) -> None:
        """Take what another server added to a flow: the flow's next task here stands behind that too."""
        flow = self._flow(lane, owner, priority)
        flow.pushed = flow.last(self.clock(lane)) + amount

    def added_here(self) -> list[tuple[str, str, PriorityClass, float]]:
        """What this server added to each flow since the last call, for the others; empty unless `shared`."""
        added = [(*key, amount) for key, amount in self._added.items()]
        self._added.clear()
        return added

    def _add(self, lane: str, flow: _Flow, rank: float) -> None:
        flow.add(rank)
        if rank > self._ends.get(lane, 0.0):
            self._ends[lane] = rank

    def _flow(self, lane: str, owner: str, priority: PriorityClass) -> _Flow:
        flows = self._flows.setdefault(lane, {})
        key = (flow_owner(owner, priority), priority)
        flow = flows.get(key)
        if flow is None:
            flow = flows[key] = _Flow()
        return flow

    def _settle(self, lane: str, owner: str, priority: PriorityClass) -> None:
        """Drop what the clock passed in one flow, then the flow or the lane if nothing is left of it."""
        flows = self._flows.get(lane)
        key = (flow_owner(owner, priority), priority)
        if flows is None or key not in flows:
            return
        clock = self.clock(lane)
        flow = flows[key]
        flow.pass_to(clock)
        if flow.is_spent(clock):
            del flows[key]
        if not flows:
            del self._flows[lane]
            self._ends.pop(lane, None)
