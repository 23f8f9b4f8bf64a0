"""Where a connection's work is done: on a thread of its own, on the event loop, or inline in a simulation.

Work is a coroutine over a `Connection`. One that never suspends (SQLite's) is driven to its end by whoever runs it, so
the same transaction code serves a blocking driver here, an asynchronous one on the event loop.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Generic, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Work: TypeAlias = Callable[[], Coroutine[None, None, T]]


class Runner(Protocol):
    """Runs one piece of work after the other."""

    async def run(self, work: Work[T]) -> T:
        """Do the work to its end; what it raises is raised here."""
        ...

    async def close(self) -> None:
        """Finish what was handed in, then take nothing more."""
        ...


def drive(work: Coroutine[None, None, T]) -> T:
    """Run a coroutine that never suspends. Raises `RuntimeError` for one that does."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise RuntimeError("work for a blocking connection waited for something else")


class InlineRunner:
    """Does the work at once, in the event loop's own thread: a simulation replays it exactly."""

    async def run(self, work: Work[T]) -> T:
        """Do the work before anything else happens."""
        return drive(work())

    async def close(self) -> None:
        """Nothing is ever left to finish."""


class LoopRunner:
    """Awaits the work on the event loop itself: for a driver that is asynchronous."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, work: Work[T]) -> T:
        """Await the work in its turn."""
        async with self._turn:
            return await work()

    async def close(self) -> None:
        """Wait for the work that was handed in before."""
        async with self._turn:
            return


class ThreadRunner:
    """Does the work on one thread of its own, started here; the event loop is told once a piece."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """Do the work on the thread, after what was handed in before."""
        job = _Job(work, asyncio.get_running_loop())
        self._jobs.put(job.run)
        return await job.future

    async def close(self) -> None:
        """Let the thread end after its last job; waits for it without blocking the event loop."""
        self._jobs.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class _Job(Generic[T]):
    """One piece of work on its way to the thread and back."""

    __slots__ = ("_loop", "_work", "future")

    def __init__(self, work: Work[T], loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop
        self.future: asyncio.Future[T] = loop.create_future()

    def run(self) -> None:
        """On the thread: do the work, hand its end to the event loop."""
        try:
            result = drive(self._work())
        except BaseException as fault:  # noqa: BLE001 - whatever it is, the one who waits for it must hear of it
            self._loop.call_soon_threadsafe(self._fail, fault)
        else:
            self._loop.call_soon_threadsafe(self._finish, result)

    def _finish(self, result: T) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def _fail(self, fault: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(fault)
