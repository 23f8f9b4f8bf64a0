"""The self-clocking group commit: while one transaction is under way, what arrives makes the next one."""

import asyncio
from collections import deque
from functools import partial
from typing import Final, TypeVar

from inferpool.core.errors import StoreUnavailable
from inferpool.core.histogram import Flushes
from inferpool.store.connection import Connection
from inferpool.store.operations import Operation, Start, Waiting
from inferpool.store.runners import Runner
from inferpool.store.transaction import commit

R = TypeVar("R")

BATCH_OPERATIONS: Final = 500
BATCH_BYTES: Final = 8 * 2**20
WAITING_OPERATIONS: Final = 10_000
WAITING_BYTES: Final = 64 * 2**20
QUIET_ROUNDS: Final = 3
"""Rounds of the event loop in a row without a new operation, after which a batch is taken."""


class Writer:
    """Takes all that waits, commits it in one transaction, resolves its futures, again: without any timer.

    An idle store adds nothing to an operation's time; a busy one makes its batches larger by itself. One task, started
    by `start`, ended by `close`.
    """

    def __init__(self, connection: Connection, runner: Runner) -> None:
        self._connection = connection
        self._runner = runner
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Waiting] = deque()
        self._starts: list[Start] = []
        self._bytes = 0
        self._work = asyncio.Event()
        self._closing = False
        self.flushes = Flushes()
        self._task = self._loop.create_task(self._write(), name="store writer")

    def submit(self, operation: Operation[R]) -> "asyncio.Future[R]":
        """Take the operation; the future resolves once it is durable.

        It has `StoreUnavailable` when too much waits already, or the store closes.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        operation.future = future
        if self._closing or self._is_full():
            future.set_exception(StoreUnavailable(self._excuse()))
            return future
        if not self._waiting:
            self._work.set()
        self._waiting.append(operation)
        self._bytes += operation.size
        return future

    def ride(self, start: Start) -> None:
        """Take along with the next flush, whatever that is. It is not worth a commit: under pressure it is dropped."""
        if len(self._starts) < WAITING_OPERATIONS:
            self._starts.append(start)

    async def close(self) -> None:
        """Flush what waits, then end."""
        self._closing = True
        self._work.set()
        await self._task

    def abandon(self) -> None:
        """Drop what waits, as a crash would."""
        self._closing = True
        self._task.cancel()

    def _is_full(self) -> bool:
        return len(self._waiting) >= WAITING_OPERATIONS or self._bytes >= WAITING_BYTES

    def _excuse(self) -> str:
        return "the store is closing" if self._closing else "more waits to be written than the store can take"

    async def _write(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._work.clear()
                await self._work.wait()
                continue
            await self._gather()
            await self._flush(self._next_batch())
        if self._starts:
            await self._flush(self._next_batch())

    async def _gather(self) -> None:
        """Let the event loop go round while that brings more to write.

        A busy loop is about to bring more (a request read in one round is an operation two rounds later), an idle one
        goes round in microseconds: larger batches without a timer, 5 % of the server's time less a call (measured).
        """
        quiet = 0
        while quiet < QUIET_ROUNDS and len(self._waiting) < BATCH_OPERATIONS and not self._closing:
            known = len(self._waiting)
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._waiting) == known else 0

    async def _flush(self, operations: list[Waiting]) -> None:
        began = self._loop.time()
        await self._runner.run(partial(commit, self._connection, operations))
        self.flushes.operations.observe(len(operations))
        self.flushes.seconds.observe(self._loop.time() - began)
        for operation in operations:
            operation.settle()

    def _next_batch(self) -> list[Waiting]:
        """The oldest operations, as many as one transaction takes, with every start that waits.

        One that changes what the batch changes already stays for the next batch, with all that follows it on the same
        row; one that wants a transaction of its own waits until it is the oldest.
        """
        batch: list[Waiting] = [*self._starts]
        self._starts = []
        marks: set[str] = set()
        left: list[Waiting] = []
        room, space = BATCH_OPERATIONS, BATCH_BYTES
        while self._waiting and room > 0 and space > 0 and len(left) < BATCH_OPERATIONS:
            operation = self._waiting[0]
            if operation.alone and (marks or left or room < BATCH_OPERATIONS):
                break
            self._waiting.popleft()
            if marks.isdisjoint(operation.marks):
                batch.append(operation)
                self._bytes -= operation.size
                room -= 1
                space -= operation.size
            else:
                left.append(operation)
            marks.update(operation.marks)
            if operation.alone:
                break
        self._waiting.extendleft(reversed(left))
        return batch
