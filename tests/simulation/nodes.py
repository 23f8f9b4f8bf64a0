"""A server of a run, on the database file: it can be killed, stopped, told to leave, started again.

A crash drops the memory of a process: its coroutines never run again, its connections break, its store is shut first, so that
nothing of it can write any more. What was committed stays.
"""

import asyncio
import math
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

import msgspec

from inferpool.core.ids import ServerId
from inferpool.dispatch.options import DispatchOptions
from inferpool.dispatch.service import Dispatch, Parts
from inferpool.server.app import build_app
from inferpool.server.gate import ServerParts
from inferpool.server.options import ServerOptions
from inferpool.store.runners import Work, drive
from inferpool.store.sqlite import SqliteOptions, SqlitePair, open_sqlite
from tests.simulation.clock import SeededIds, SeededSecrets, VirtualClock
from tests.simulation.laws import Laws
from tests.simulation.log import TraceLog
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.signals import Hub, HubSignals
from tests.simulation.trace import Trace

T = TypeVar("T")


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What all processes of a run share."""

    loop: VirtualLoop
    network: Network
    trace: Trace
    clock: VirtualClock
    laws: Laws
    hub: Hub | None
    """None: there is one server."""
    seed: str
    dispatch: DispatchOptions

    def chance(self, name: str) -> Random:
        """A source of randomness of its own for each part, so that one part's draws do not shift another's."""
        return Random(f"{self.seed} {name}")


class DelayedRunner:
    """Runs the store's work inline, a little later than it was asked to."""

    def __init__(self, world: World, chance: Random, slowest_s: float) -> None:
        self._world = world
        self._chance = chance
        self._slowest_s = slowest_s
        self.prompt = True
        """While the store opens: a crash there is the same as one before it."""

    async def run(self, work: Work[T]) -> T:
        """Wait a little, then work."""
        if not self.prompt:
            await self.pause()
        return drive(work())

    async def pause(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, self._slowest_s))

    async def close(self) -> None:
        """Nothing is ever left to finish."""


class WritingRunner(DelayedRunner):
    """Lets the laws look at each commit, then time pass before its news: a crash falls before the one or the other."""

    async def run(self, work: Work[T]) -> T:
        """Wait, work, look, wait."""
        result = await super().run(work)
        if not self.prompt:
            self._world.laws.look()
            await self.pause()
        return result


class ServerNode:
    """One server, started again and again on the same file, at the same address."""

    def __init__(self, world: World, path: Path, name: str, address: str) -> None:
        self._world = world
        self._path = path
        self.name = name
        self.address = address
        self._signals: HubSignals | None = None
        self._starts = 0
        self._pair: SqlitePair | None = None
        self._full = self._leaves = False
        self.process = Process(f"{name}-0")
        self.process.killed = True
        self.dispatch: Dispatch | None = None
        self.logs: list[TraceLog] = []

    @property
    def up(self) -> bool:
        return not self.process.killed

    def start(self) -> None:
        """A new process on the file; the same address answers as soon as it is ready."""
        if self.up:
            return
        self._starts += 1
        self.process = Process(f"{self.name}-{self._starts}")
        self._world.trace.note(self.process.name, "starts")
        self.process.spawn(self._world.loop, self._boot(self.process), "boot")

    async def _boot(self, process: Process) -> None:
        world = self._world
        log = TraceLog(world.trace, process.name)
        self.logs.append(log)
        new_id = SeededIds(world.clock, world.chance(process.name))
        pair = await self._open(process)
        self._signals = None if world.hub is None else HubSignals(world.hub, process)
        parts = Parts(
            clock=world.clock,
            new_id=new_id,
            new_secret=SeededSecrets(world.chance(f"{process.name} secrets")),
            jitter=world.chance(f"{process.name} jitter"),
            log=log,
            signals=self._signals,
        )
        self._pair = pair
        self.dispatch = Dispatch(pair.store, pair.reader, world.dispatch, parts, ServerId(new_id()))
        app = build_app(self.dispatch, ServerOptions(headers_wait_s=3.0, comment_s=4.0), ServerParts(new_id, log))
        await self.dispatch.open()
        world.network.serve(self.address, app, process)
        world.trace.note(process.name, "is ready")
        self._full = self._leaves = False
        self._disturb()

    async def _open(self, process: Process) -> SqlitePair:
        world = self._world
        writing = WritingRunner(world, world.chance(f"{process.name} writer"), 0.004)
        reading = DelayedRunner(world, world.chance(f"{process.name} reader"), 0.001)
        options = SqliteOptions(alone=world.hub is None)
        pair = await open_sqlite(self._path, clock=world.clock, runner=writing, readers=[reading], options=options)
        writing.prompt = reading.prompt = False
        world.laws.look()
        return pair

    def kill(self) -> None:
        """As SIGKILL."""
        if not self.up:
            return
        world = self._world
        world.trace.note(self.process.name, "is killed")
        world.loop.kill_process(self.process)
        self._disturb()
        world.network.refuse(self.address)
        world.network.vanish(self.process)
        self._let_go()
        world.laws.look()

    def _let_go(self) -> None:
        pair, self._pair, self.dispatch = self._pair, None, None
        if self._signals is not None:
            self._signals.drop()
        if pair is not None:
            pair.abandon()

    def _disturb(self) -> None:
        """Nothing need be prompt while the server is not itself; from now on again when it is."""
        lasts = self._leaves or self._full or self.process.halted or not self.up
        self._world.laws.disturbed_s[self.name] = math.inf if lasts else self._world.loop.time()

    def stop(self) -> None:
        """As SIGSTOP."""
        self._world.trace.note(self.process.name, "is stopped")
        self._world.loop.stop_process(self.process)
        self._disturb()

    def resume(self) -> None:
        """As SIGCONT."""
        self._world.trace.note(self.process.name, "is continued")
        self._world.loop.continue_process(self.process)
        self._disturb()

    def fill_disk(self, *, full: bool) -> None:
        """Let the database file not grow any more, or again."""
        if self._pair is None or not self.up:
            return
        self._world.trace.note(self.process.name, f"disk full: {full}")
        self._full = full
        self._disturb()
        driver = self._pair._connection._driver
        [(pages,)] = driver.execute("PRAGMA page_count").fetchall()
        driver.execute(f"PRAGMA max_page_count = {pages if full else 1_000_000}").fetchall()

    async def leave(self, drain_s: float) -> None:
        """As SIGTERM: drain, close; the process ends by itself."""
        world, process = self._world, self.process
        process.spawn(world.loop, self._depart(process, drain_s), "departs")
        while not process.killed:
            await asyncio.sleep(0.05)

    async def _depart(self, process: Process, drain_s: float) -> None:
        world, dispatch, pair = self._world, self.dispatch, self._pair
        world.trace.note(process.name, "drains")
        self._leaves = True
        self._disturb()
        if dispatch is not None and pair is not None:
            await dispatch.drain(drain_s)
            await dispatch.close()
            await asyncio.sleep(0.5)  # the last bytes leave
            world.network.refuse(self.address)
            await pair.close()
            self._pair = self.dispatch = None
        world.trace.note(process.name, "ends")
        world.network.later(0.5, partial(self._ended, process))

    def _ended(self, process: Process) -> None:
        """Nothing of it may be left: what is, is told, then dropped."""
        world = self._world
        left = [task.get_name() for task in process.tasks]
        timers = [str(timer) for timer in world.loop.timers_of(process)]
        if left or timers:
            world.laws.broken.append(f"{process.name} ended and left tasks {left}, timers {timers}")
        world.loop.kill_process(process)
        world.network.vanish(process)
