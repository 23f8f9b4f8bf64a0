"""An event loop whose time is a number: it jumps to the next timer as soon as nothing is ready.

The order of callbacks depends on nothing but the program: no selector, no thread, no real clock; tasks hash by their
number, so that sets of them iterate alike in each run. Every callback belongs to the process (in the simulation's sense)
in whose context it was scheduled, so a process can be stopped, continued or killed between any two of its callbacks.
Limits: a callback that runs is never interrupted, and a stopped process continues with its timers all at once.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

NEUTRAL = Context()
"""The context of what belongs to no process: the network, the story."""


class Stalled(Exception):
    """Nothing is ready, no timer is armed, and the program still waits."""


class Endless(Exception):
    """The run took more steps than any sound one."""


class Process:
    """A program of the simulation: its callbacks run, or are kept back while it is stopped, for ever once it is killed."""

    __slots__ = ("context", "halted", "kept", "killed", "name", "tasks")

    def __init__(self, name: str) -> None:
        self.name = name
        self.killed = False
        self.halted = False
        """Stopped or killed."""
        self.kept: list[OwnedHandle | OwnedTimer] = []
        self.tasks: dict[asyncio.Task[object], None] = {}
        """Those that have not ended, oldest first."""
        self.context = Context()
        self.context.run(PROCESS.set, self)

    def spawn(self, loop: "VirtualLoop", work: Coroutine[object, object, object], name: str) -> None:
        """Let it do something that it owns."""
        task = loop.create_task(work, name=f"{self.name} {name}", context=self.context.copy())
        self.tasks[task] = None


PROCESS: ContextVar[Process] = ContextVar("process")


class OwnedHandle(asyncio.Handle):
    """A callback that knows whose it is; None: no process's."""

    __slots__ = ("owner",)
    owner: Process | None


class OwnedTimer(asyncio.TimerHandle):
    """A timer that knows whose it is."""

    __slots__ = ("owner",)
    owner: Process | None


class NumberedTask(asyncio.Task[T]):
    """A task that hashes by its number instead of its address."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs one simulation; `steps` bounds the callbacks that it may run."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._now = 0.0
        self._queue: deque[OwnedHandle | OwnedTimer] = deque()
        self._timers: list[tuple[float, int, OwnedTimer]] = []
        self._count = 0
        self.steps_left = steps
        self._halted: dict[Process, None] = {}
        self.faults: list[str] = []
        """What nobody caught: exceptions of callbacks, of tasks that nobody awaited."""
        self.set_exception_handler(self._note_fault)

    def time(self) -> float:
        return self._now

    # ---- scheduling ----------------------------------------------------------------------------------------------

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = OwnedHandle(callback, args, self, context)
        handle.owner = PROCESS.get(None) if context is None else context.get(PROCESS)
        self._admit(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = OwnedTimer(when, callback, args, self, context)
        timer.owner = PROCESS.get(None) if context is None else context.get(PROCESS)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_task(
        self,
        coro: Generator[asyncio.Future[object] | None, None, T] | Coroutine[object, object, T],
        *,
        name: object = None,
        context: Context | None = None,
        eager_start: bool | None = None,
    ) -> asyncio.Task[T]:
        """A task that its process knows; `eager_start` is refused, because it would run outside of the order."""
        if eager_start:
            raise NotImplementedError("the order of callbacks is the loop's")
        self._count += 1
        NumberedTask.number = self._count  # its hash is asked for before the constructor returns
        task = NumberedTask(coro, loop=self, name=None if name is None else str(name), context=context)
        task.number = self._count
        owner = PROCESS.get(None) if context is None else context.get(PROCESS)
        if owner is not None:
            owner.tasks[task] = None
            task.add_done_callback(owner.tasks.pop, context=NEUTRAL)
        return task

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        raise NotImplementedError("a simulation has no threads")

    def _admit(self, handle: OwnedHandle | OwnedTimer) -> None:
        owner = handle.owner
        (self._queue if owner is None or not owner.halted else owner.kept).append(handle)

    # ---- processes -----------------------------------------------------------------------------------------------

    def stop_process(self, process: Process) -> None:
        """As SIGSTOP: nothing of it runs until it is continued."""
        process.halted = True
        self._halted[process] = None
        queue, self._queue = self._queue, deque()
        for handle in queue:
            (process.kept if handle.owner is process else self._queue).append(handle)

    def continue_process(self, process: Process) -> None:
        """As SIGCONT: all that waited is ready. A killed process stays dead."""
        if not process.killed:
            self._halted.pop(process, None)
            process.halted = False
            kept, process.kept = process.kept, []
            self._queue.extend(kept)

    def kill_process(self, process: Process) -> None:
        """As SIGKILL: nothing of it ever runs again, not even the `finally` of a coroutine."""
        process.killed = True
        self.stop_process(process)

    def bury(self) -> None:
        """Once the run is judged, let the coroutines of the killed end: their world must be dead to them by now."""
        for process in list(self._halted):
            for task in list(process.tasks):
                task.cancel()
            process.killed = False
            self.continue_process(process)

    def finish(self, steps: int = 100_000) -> None:
        """End whatever still runs, then close: nothing may be left for the garbage collector to end."""
        self.steps_left = steps
        self.bury()
        while tasks := [task for task in asyncio.all_tasks(self) if not task.done()]:
            for task in tasks:
                task.cancel()
            self.run_until_complete(asyncio.wait(tasks, timeout=60.0))
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()

    def timers_of(self, process: Process) -> list[OwnedTimer]:
        """The armed timers of a process."""
        return [timer for _, _, timer in self._timers if not timer.cancelled() and timer.owner is process]

    # ---- running -------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        """One round of `run_forever`: all that is ready, else the next timers."""
        if not self._queue:
            self._advance()
        for _ in range(len(self._queue)):
            if not self._queue:
                break
            handle = self._queue.popleft()
            if not handle.cancelled():
                self.steps_left -= 1
                handle._run()
        if self.steps_left < 0:
            raise Endless(f"too many steps; it is {self._now:.3f} s")

    def _advance(self) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            waiting = sorted(task.get_name() for task in asyncio.all_tasks(self))
            raise Stalled(f"nothing is left to do at {self._now:.3f} s; waiting: {', '.join(waiting)}")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            if not timer.cancelled():
                self._admit(timer)

    def _write_to_self(self) -> None:
        """Nobody waits in a selector that would have to be woken."""

    def _note_fault(self, _: asyncio.AbstractEventLoop, facts: dict[str, object]) -> None:
        fault = facts.get("exception")
        self.faults.append(f"{facts.get('message')}: {fault!r}")
