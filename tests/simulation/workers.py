"""The workers of a run, on their folders: they can be killed, stopped, copied, told to leave, started again."""

import asyncio
from functools import partial

from inferpool.client.server import Patience
from inferpool.core.errors import SessionReplaced
from inferpool.worker.options import OutboxOptions, WorkerOptions
from inferpool.worker.parts import WorkerParts
from inferpool.worker.run import Worker
from tests.simulation.clock import SeededIds, SeededSecrets
from tests.simulation.disk import MemoryDisk, MemoryFolder
from tests.simulation.log import WorkerLog
from tests.simulation.loop import Process
from tests.simulation.network import MemoryTransport
from tests.simulation.nodes import World


class WorkerNode:
    """One worker beside its engine, started again and again on the same folder."""

    def __init__(
        self, world: World, name: str, engine_url: str, addresses: tuple[str, ...], *, copy: bool = False
    ) -> None:
        """`addresses`: of the servers, the load balancer's last if there is one."""
        self._world = world
        self.name = name
        self._label = f"{name}copy" if copy else name
        self._engine_url = engine_url
        self._addresses = addresses
        self._starts = 0
        self._disk: MemoryDisk | None = None
        self._transport: MemoryTransport | None = None
        self.folder = MemoryFolder()
        self.process = Process(f"{self._label}-0")
        self.process.killed = True
        self.worker: Worker | None = None
        self.logs: list[WorkerLog] = []
        self.replaced = False
        """It ended by itself: another process used its session."""
        self.clones: list[WorkerNode] = []
        """Processes on copies of its folder: of all that run, one alone may stay."""

    @property
    def up(self) -> bool:
        return not self.process.killed

    def start(self, *, empty: bool = False) -> None:
        """A new process on the folder, or on an empty one."""
        if self.up:
            return
        if empty:
            self.folder.files.clear()
        world = self._world
        self._starts += 1
        self.process = Process(f"{self._label}-{self._starts}")
        world.trace.note(self.process.name, "starts on an empty folder" if empty else "starts")
        self._disk = MemoryDisk(self.folder, world.chance(f"{self.process.name} disk"))
        self._transport = world.network.transport(self.process)
        log = WorkerLog(world.trace, self.process.name)
        self.logs.append(log)
        parts = WorkerParts(
            server=self._transport,
            engine=self._transport,
            disk=self._disk,
            new_id=SeededIds(world.clock, world.chance(self.process.name)),
            new_secret=SeededSecrets(world.chance(f"{self.process.name} secrets")),
            clock=world.clock,
            jitter=world.chance(f"{self.process.name} jitter"),
            log=log,
        )
        self.process.spawn(world.loop, self._run(self.process, parts), "runs")

    def _options(self) -> WorkerOptions:
        chance = self._world.chance(f"{self.process.name} options")
        outbox = OutboxOptions(
            batch_events=chance.choice((3, 500)),
            waiting_chunks=chance.choice((5, 20_000)),
            memory_bytes=chance.choice((300, 64_000_000)),
            shelve_after_s=chance.choice((0.0, 0.05, 1.0)),
        )
        return WorkerOptions(
            name=self.name,
            server_urls=[f"http://{address}" for address in self._servers()],
            engine_urls=[self._engine_url],
            slots=chance.choice((1, 2, 4)),
            probe_s=5.0,
            probe_timeout_s=5.0,
            silence_s=8.0,
            leave_s=5.0,
            flush_s=5.0,
            outbox=outbox,
            patience=Patience(answer_s=5.0, channel_s=3 * self._world.dispatch.ping_s),
        )

    def _servers(self) -> list[str]:
        """What the worker is told: every server, in some order, or the load balancer alone."""
        *servers, last = self._addresses
        chance = self._world.chance(f"{self.process.name} servers")
        if not servers or chance.random() < 0.5:
            return [last]
        return chance.sample(servers, len(servers))

    async def _run(self, process: Process, parts: WorkerParts) -> None:
        worker = Worker(self._options(), parts)
        self.worker = worker
        try:
            await worker.run()
        except SessionReplaced as error:
            self._world.trace.note(process.name, f"ends itself: {error}")
            self.replaced = True
        self._world.network.later(0.5, partial(self._ended, process))

    def _ended(self, process: Process) -> None:
        world = self._world
        left = [task.get_name() for task in process.tasks]
        timers = [str(timer) for timer in world.loop.timers_of(process)]
        if left or timers:
            world.laws.broken.append(f"{process.name} ended and left tasks {left}, timers {timers}")
        if process is self.process:
            self._end(process)

    def kill(self) -> None:
        """As SIGKILL."""
        if self.up:
            self._world.trace.note(self.process.name, "is killed")
            self._end(self.process)

    def _end(self, process: Process) -> None:
        world = self._world
        world.loop.kill_process(process)
        if self._disk is not None and self._transport is not None:
            self._disk.dead = self._transport.dead = True
        world.network.vanish(process)
        self.worker = None

    def stop(self) -> None:
        """As SIGSTOP."""
        self._world.trace.note(self.process.name, "is stopped")
        self._world.loop.stop_process(self.process)

    def resume(self) -> None:
        """As SIGCONT."""
        self._world.trace.note(self.process.name, "is continued")
        self._world.loop.continue_process(self.process)

    def clone(self) -> None:
        """A second process on a copy of the folder, as of a machine restored from a snapshot."""
        clone = WorkerNode(self._world, self.name, self._engine_url, self._addresses, copy=True)
        clone.folder.files.update(self.folder.files)
        clone.start()
        self.clones.append(clone)

    @property
    def acting(self) -> "list[WorkerNode]":
        """Those that run: this one, its copies."""
        return [node for node in (self, *self.clones) if node.up]

    async def leave(self) -> None:
        """As SIGTERM: leave; the process ends by itself."""
        process, worker = self.process, self.worker
        if worker is None or process.killed:
            return
        self._world.trace.note(process.name, "leaves")
        process.spawn(self._world.loop, _call(worker), "told to leave")
        while not process.killed:
            await asyncio.sleep(0.05)


async def _call(worker: Worker) -> None:
    worker.leave()
