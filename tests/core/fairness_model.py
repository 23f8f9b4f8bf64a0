"""A queue under a virtual clock that orders its tasks by the real ranks: what the fairness tests run."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import heappop, heappush
from itertools import count, islice

from inferpool.core.cost import CostMeter
from inferpool.core.lanes import PriorityClass
from inferpool.core.rank import Ranker
from inferpool.core.turns import Candidate, Turns

LANE = "pool:m"
CHAT = "chat/completions"


@dataclass
class Task:
    """A task (or the pattern of many); `server` is the one that enqueues it. The rest is the queue's to fill in."""

    owner: str
    priority: PriorityClass = PriorityClass.DEFAULT
    lane: str = LANE
    endpoint: str = CHAT
    service_s: float = 1.0
    weight: float = 1.0
    server: int = 0
    tokens: int = 0
    id: str = ""
    rank: float = 0.0
    attempt: int = 0
    enqueued_at: float = 0.0
    started_at: float | None = None


@dataclass
class Llm:
    """An llm with equal slots, which takes from its lanes in turn; `server` is the one that serves its session."""

    lanes: tuple[str, ...] = (LANE,)
    slots: int = 1
    endpoints: tuple[str, ...] = (CHAT,)
    server: int = 0
    used: int = 0
    turns: Turns = field(default_factory=Turns)


class Queue:
    """Servers with a ranker each, one store of pending rows, llms that claim them by (rank, id)."""

    def __init__(self, *llms: Llm, servers: int = 1) -> None:
        self.now = 0.0
        self.llms = llms or (Llm(),)
        self.rankers = [Ranker(shared=servers > 1) for _ in range(servers)]
        self.meter = CostMeter()
        self.stored_clocks: dict[str, float] = {}
        self.rows: dict[str, list[tuple[float, str, Task]]] = {}
        self.started: list[Task] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self.at(1.0, self._each_second)

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at a virtual time."""
        heappush(self._events, (when, next(self._numbers), action))

    def run(self, until: float) -> None:
        """Let virtual time pass."""
        while self._events[0][0] <= until:
            self.now, _, action = heappop(self._events)
            action()
        self.now = until

    def enqueue(self, pattern: Task) -> Task:
        """Rank a new task at its server, store its row, claim it if a slot is free."""
        task = replace(pattern, id=f"{next(self._numbers):09}", enqueued_at=self.now)
        cost = self.meter.cost(task.lane, task.owner, task.priority)
        task.rank = self.rankers[task.server].enqueue(task.lane, task.owner, task.priority, cost, task.weight)
        self._store(task)
        self._fill_all()
        return task

    def flood(self, number: int, pattern: Task) -> list[Task]:
        """Enqueue many tasks now."""
        return [self.enqueue(pattern) for _ in range(number)]

    def arrive(self, every_s: float, pattern: Task) -> None:
        """Enqueue a task now, another every so often from then on."""
        self.enqueue(pattern)
        self.at(self.now + every_s, partial(self.arrive, every_s, pattern))

    def cancel(self, tasks: Iterable[Task]) -> None:
        """Cancel those of the tasks that are still pending."""
        for task in tasks:
            if task.started_at is None:
                self._unstore(task)
                self.rankers[task.server].withdrawn(task.lane, task.owner, task.priority, task.rank)

    def give_back(self, llm: Llm, task: Task) -> None:
        """Put a running task back in the queue with its rank."""
        task.started_at = None
        task.attempt += 1
        llm.used -= 1
        self.started.remove(task)
        self._store(task)
        self.rankers[llm.server].returned(task.lane, task.owner, task.priority, task.rank)
        self._fill_all()

    def restart(self) -> None:
        """Lose every server's memory; read back what the store keeps."""
        self.rankers = [Ranker(shared=len(self.rankers) > 1) for _ in self.rankers]
        for ranker in self.rankers:
            for lane, clock in self.stored_clocks.items():
                ranker.restore_clock(lane, clock)
            for lane, rows in self.rows.items():
                for rank, _, task in rows:
                    ranker.restore_pending(lane, task.owner, task.priority, rank)

    def counted(self, since: float, until: float) -> Counter[str]:
        """Tasks started in a span of time, by owner."""
        return Counter(task.owner for task in self.started if since <= (task.started_at or 0.0) < until)

    def pending(self) -> int:
        """How many rows wait in all lanes."""
        return sum(map(len, self.rows.values()))

    def _store(self, task: Task) -> None:
        insort(self.rows.setdefault(task.lane, []), (task.rank, task.id, task))

    def _unstore(self, task: Task) -> None:
        rows = self.rows[task.lane]
        del rows[bisect_left(rows, (task.rank, task.id))]

    def _fill_all(self) -> None:
        for llm in self.llms:
            self._fill(llm)

    def _fill(self, llm: Llm) -> None:
        free = llm.slots - llm.used
        if not free:
            return
        waiting = {lane: list(islice(self._claimable(llm, lane), free)) for lane in llm.lanes}
        tasks = {task.id: task for rows in waiting.values() for task in rows}
        candidates = {
            lane: [Candidate(task.id, task.rank, task.priority) for task in rows] for lane, rows in waiting.items()
        }
        for taken in llm.turns.take(candidates, free):
            self._claim(llm, tasks[str(taken.task_id)])

    def _claimable(self, llm: Llm, lane: str) -> Iterator[Task]:
        return (task for _, _, task in self.rows.get(lane, ()) if task.endpoint in llm.endpoints)

    def _claim(self, llm: Llm, task: Task) -> None:
        self._unstore(task)
        self.rankers[llm.server].claimed(task.lane, task.owner, task.priority, task.rank)
        llm.used += 1
        task.started_at = self.now
        self.started.append(task)
        self.at(self.now + task.service_s, partial(self._end, llm, task, task.attempt))

    def _end(self, llm: Llm, task: Task, attempt: int) -> None:
        if task.attempt != attempt:
            return
        llm.used -= 1
        if task.tokens:
            self.meter.observe(task.lane, task.owner, task.priority, task.tokens)
        self._fill(llm)

    def _each_second(self) -> None:
        """Write the clocks lazily; tell each server what the others know."""
        for number, ranker in enumerate(self.rankers):
            others = [other for at, other in enumerate(self.rankers) if at != number]
            for lane, clock in ranker.dirty_clocks():
                self.stored_clocks[lane] = max(clock, self.stored_clocks.get(lane, 0.0))
                for other in others:
                    other.merge_clock(lane, clock)
            for added in ranker.added_here():
                for other in others:
                    other.added_elsewhere(*added)
        self.at(self.now + 1.0, self._each_second)
