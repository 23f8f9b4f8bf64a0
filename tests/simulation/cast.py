"""Everybody who takes part in a run."""

from pathlib import Path
from random import Random

from inferpool.wire.sessions import Result
from tests.simulation.balancer import BALANCER, Balancer
from tests.simulation.callers import Callers
from tests.simulation.clock import VirtualClock
from tests.simulation.engine import ScriptedEngine
from tests.simulation.laws import Laws, Row
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.nodes import ServerNode, World
from tests.simulation.plan import WORKERS, Plan
from tests.simulation.signals import Hub
from tests.simulation.trace import Trace
from tests.simulation.views import Memory
from tests.simulation.workers import WorkerNode

STEPS = 3_000_000


class Cast:
    """The server or servers, the workers with their engines, the callers, the world that they share."""

    def __init__(self, plan: Plan, folder: Path, *, echo: bool) -> None:
        self.plan = plan
        self.loop = VirtualLoop(STEPS)
        self.trace = Trace(self.loop, echo=echo)
        self.path = folder / "store.db"
        self.laws = Laws(self.path, self.trace)
        self.laws.lost = self._lost
        self.world = World(
            loop=self.loop,
            network=Network(self.loop, Random(f"{plan.stream} network"), self.trace),
            trace=self.trace,
            clock=VirtualClock(self.loop),
            laws=self.laws,
            hub=self._hub(),
            seed=plan.stream,
            dispatch=plan.dispatch,
        )
        self.servers = [
            ServerNode(self.world, self.path, name, f"127.0.0.1:{8010 + place}")
            for place, name in enumerate(plan.servers)
        ]
        self.addresses = self._addresses()
        self.engines = [
            ScriptedEngine(f"e{place}", self.world.chance(f"engine {place}")) for place in range(len(WORKERS))
        ]
        self.engine_processes = [Process(engine.name) for engine in self.engines]
        self.workers = [self._worker(place) for place in range(len(WORKERS))]
        self.callers = Process("callers")
        transport = self.world.network.transport(self.callers)
        memory = Memory(self.engines, self.laws, self.laws.broken.append)
        self.shared = Callers(self.addresses, transport, self.laws, memory, self.trace, {}, {})

    @property
    def nodes(self) -> list[WorkerNode]:
        """The workers with their copies."""
        return [node for worker in self.workers for node in (worker, *worker.clones)]

    def _hub(self) -> Hub | None:
        alone = len(self.plan.servers) == 1
        return None if alone else Hub(self.loop, Random(f"{self.plan.stream} signals"), self.trace)

    def _addresses(self) -> tuple[str, ...]:
        """Of the servers; several have a load balancer before them too."""
        addresses = tuple(server.address for server in self.servers)
        if len(addresses) == 1:
            return addresses
        network = self.world.network
        network.balancers[BALANCER] = Balancer(network, addresses, self.world.chance("balancer"))
        return (*addresses, BALANCER)

    def server(self, name: str) -> ServerNode | None:
        """The server of that name, if it is one's."""
        return next((server for server in self.servers if server.name == name), None)

    def _worker(self, place: int) -> WorkerNode:
        address, engine = f"127.0.0.1:{9001 + place}", self.engines[place]
        self.world.network.serve(address, engine.app, self.engine_processes[place])
        self.world.network.near.add(address)
        return WorkerNode(self.world, WORKERS[place], f"http://{address}", self.addresses)

    def _lost(self, row: Row, path: str) -> None:
        """A session lost a row for good: its worker must not sit there with the finished answer."""
        if self.plan.forgets_soon:
            return
        for node in self.workers:
            if node.worker is None or node.clones:
                continue
            entry = node.worker._outbox.entries.get((row.id, row.attempt))
            if entry is not None and isinstance(entry.terminal, Result) and not entry.refused:
                self.shared.breach(f"{path}: the finished answer to {row.id} at {node.name} is thrown away")
