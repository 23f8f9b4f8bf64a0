"""What waits for the writer: one operation a verb, in the groups that a transaction runs them by."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Generic, Protocol, TypeVar

from inferpool.core.errors import RequestError
from inferpool.core.ids import TaskId
from inferpool.core.task import ClaimedTask, ClaimFor, NewTask
from inferpool.store.connection import Connection
from inferpool.store.protocol import Cancelled, Claim, Completion, Enqueued, Failure, Retry, Settlement, Spoken

R = TypeVar("R")

OVERHEAD = 512
"""Bytes that an operation is taken to cost beside its bodies."""


class Operation(ABC, Generic[R]):
    """One verb on its way into a transaction, then back with its outcome.

    `marks` name what it changes: two operations with a common mark are never in one batch, so that statements over
    whole groups cannot reorder them. `size` counts bytes.
    """

    __slots__ = ("alone", "fault", "future", "marks", "outcome", "size")

    future: "asyncio.Future[R]"
    outcome: R

    def __init__(self, marks: tuple[str, ...], size: int = OVERHEAD) -> None:
        self.marks = marks
        self.size = size
        self.alone = False
        self.fault: BaseException | None = None

    @abstractmethod
    def join(self, batch: "Batch") -> None:
        """Take its place in the batch's groups."""

    def settle(self) -> None:
        """Tell whoever waits, on the event loop."""
        if self.future.done():
            return
        if self.fault is None:
            self.future.set_result(self.outcome)
        else:
            self.future.set_exception(self.fault)


class Waiting(Protocol):
    """An operation, whatever its outcome is."""

    marks: tuple[str, ...]
    size: int
    alone: bool
    fault: BaseException | None

    def join(self, batch: "Batch") -> None:
        """Take its place in the batch's groups."""
        ...

    def settle(self) -> None:
        """Tell whoever waits."""
        ...


class Performs(Protocol):
    """An operation with statements of its own."""

    async def perform(self, connection: Connection) -> None:
        """Run inside the transaction; keeps what comes of it."""
        ...


class Batch:
    """The operations of one transaction, by the statements that they share; they run in the order of the fields."""

    __slots__ = ("cancels", "claims", "completions", "enqueues", "failures", "retries", "returns", "singles", "starts")

    def __init__(self, operations: list[Waiting]) -> None:
        self.starts: list[Start] = []
        self.completions: list[Complete] = []
        self.failures: list[Fail] = []
        self.retries: list[TryAgain] = []
        self.returns: list[GiveBack] = []
        self.cancels: list[Cancel] = []
        self.enqueues: list[Enqueue] = []
        self.claims: list[Take] = []
        self.singles: list[Performs] = []
        for operation in operations:
            operation.fault = None
            operation.join(self)

    @property
    def ends(self) -> bool:
        """Whether a session's word on an attempt is among them."""
        return bool(self.completions or self.failures or self.retries or self.returns)


class Start(Operation[None]):
    """An engine began to answer. It has no mark: it runs before any ending, and nobody waits for it."""

    __slots__ = ("spoken",)

    def __init__(self, spoken: Spoken) -> None:
        super().__init__(())
        self.spoken = spoken

    def join(self, batch: Batch) -> None:
        """Among the first."""
        batch.starts.append(self)

    def settle(self) -> None:
        """Nobody waits."""


class Complete(Operation[Settlement]):
    """An attempt's answer."""

    __slots__ = ("end",)

    def __init__(self, end: Completion) -> None:
        super().__init__((end.spoken.task_id,), OVERHEAD + len(end.answer.body) + len(end.chunks or b""))
        self.end = end

    @property
    def spoken(self) -> Spoken:
        """Who says so, of which attempt."""
        return self.end.spoken

    def join(self, batch: Batch) -> None:
        """Among the completions."""
        batch.completions.append(self)


class Fail(Operation[Settlement]):
    """An attempt's failure that ends its task."""

    __slots__ = ("end",)

    def __init__(self, end: Failure) -> None:
        super().__init__((end.spoken.task_id,), OVERHEAD + (len(end.answer.body) if end.answer else 0))
        self.end = end

    @property
    def spoken(self) -> Spoken:
        """Who says so, of which attempt."""
        return self.end.spoken

    def join(self, batch: Batch) -> None:
        """Among the failures."""
        batch.failures.append(self)


class TryAgain(Operation[Settlement]):
    """An attempt's failure after which the task may be tried again."""

    __slots__ = ("end",)

    def __init__(self, end: Retry) -> None:
        super().__init__((end.spoken.task_id,), OVERHEAD + (len(end.answer.body) if end.answer else 0))
        self.end = end

    @property
    def spoken(self) -> Spoken:
        """Who says so, of which attempt."""
        return self.end.spoken

    def join(self, batch: Batch) -> None:
        """Among the retries."""
        batch.retries.append(self)


class GiveBack(Operation[Settlement]):
    """An attempt that its session returns."""

    __slots__ = ("spoken",)

    def __init__(self, spoken: Spoken) -> None:
        super().__init__((spoken.task_id,))
        self.spoken = spoken

    def join(self, batch: Batch) -> None:
        """Among the returns."""
        batch.returns.append(self)


class Cancel(Operation[Cancelled]):
    """A task that nobody wants any more."""

    __slots__ = ("task_id",)

    def __init__(self, task_id: TaskId) -> None:
        super().__init__((task_id,))
        self.task_id = task_id

    def join(self, batch: Batch) -> None:
        """Among the cancels."""
        batch.cancels.append(self)


class Enqueue(Operation[Enqueued]):
    """A new task; with an idempotency key it also marks the key."""

    __slots__ = ("claim", "task")

    def __init__(self, task: NewTask, claim: ClaimFor | None) -> None:
        key = task.idempotency
        marks = (task.id,) if key is None else (task.id, f"key {task.owner} {key.key}")
        super().__init__(marks, OVERHEAD + len(task.request))
        self.task = task
        self.claim = claim

    def join(self, batch: Batch) -> None:
        """Among the enqueues."""
        batch.enqueues.append(self)


class Take(Operation[list[ClaimedTask]]):
    """A claim for one engine. It has no mark: which tasks it takes is seen inside the transaction."""

    __slots__ = ("wish",)

    def __init__(self, wish: Claim) -> None:
        super().__init__(())
        self.wish = wish

    def join(self, batch: Batch) -> None:
        """Among the claims."""
        batch.claims.append(self)


class Single(Operation[R]):
    """An operation with statements of its own; `alone`: in a transaction of its own, too."""

    __slots__ = ("_act",)

    def __init__(
        self, act: Callable[[Connection], Coroutine[None, None, R]], marks: tuple[str, ...] = (), *, alone: bool
    ) -> None:
        super().__init__(marks)
        self.alone = alone
        self._act = act

    def join(self, batch: Batch) -> None:
        """Among the last, in the order in which they came."""
        batch.singles.append(self)

    async def perform(self, connection: Connection) -> None:
        """Run its statements. It refuses before it writes, so that a refusal undoes nothing of its batch."""
        try:
            self.outcome = await self._act(connection)
        except RequestError as refusal:
            self.fault = refusal
