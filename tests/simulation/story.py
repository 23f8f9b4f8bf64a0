"""One seed, one run: two workers, forty callers, their troubles, then peace."""

import asyncio
import contextlib
import gc
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec

from inferpool.core.stream import unpack_chunks
from inferpool.store.invariants import check
from inferpool.store.runners import drive
from inferpool.store.sqlite_connection import connect
from tests.simulation.callers import KINDS, Caller, Callers
from tests.simulation.clock import VirtualClock
from tests.simulation.engine import Moods, ScriptedEngine
from tests.simulation.laws import Laws
from tests.simulation.loop import Endless, Process, Stalled, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.nodes import ServerNode, WorkerNode, World
from tests.simulation.plan import TASKS, WORKERS, Plan, Trouble, What, draw
from tests.simulation.rest import unrest
from tests.simulation.trace import Trace
from tests.simulation.views import Memory
from tests.simulation.weather import CALM

STEPS = 3_000_000
SHM = Path("/dev/shm")  # a crash of a process loses nothing that was written, so memory is as good as a disk
PATIENCE_S = 240.0
"""After everything is healed, the run must come to rest within this time."""


class Result(msgspec.Struct, frozen=True):
    """How a run went."""

    seed: int
    breaches: list[str]
    hash: str
    trace: str
    steps: int
    time_s: float
    commits: int
    verbs: dict[str, int]


class Story:
    """A run in the making."""

    def __init__(self, plan: Plan, folder: Path, *, echo: bool) -> None:
        self.loop = VirtualLoop(STEPS)
        self.trace = Trace(self.loop, echo=echo)
        self.plan = plan
        self.path = folder / "store.db"
        self.laws = Laws(self.path, self.trace)
        self.world = World(
            loop=self.loop,
            network=Network(self.loop, Random(f"{plan.seed} network"), self.trace),
            trace=self.trace,
            clock=VirtualClock(self.loop),
            laws=self.laws,
            seed=plan.seed,
            dispatch=plan.dispatch,
        )
        self.server = ServerNode(self.world, self.path)
        self.engines = [
            ScriptedEngine(f"e{place}", self.world.chance(f"engine {place}")) for place in range(len(WORKERS))
        ]
        self.workers = [self._worker(place) for place in range(len(WORKERS))]
        self.callers = Process("callers")
        self.shared = Callers(
            self.world.network.transport(self.callers),
            self.laws,
            Memory(self.engines, self.laws, self.laws.broken.append),
            self.trace,
            {},
        )

    def _worker(self, place: int) -> WorkerNode:
        address, engine = f"127.0.0.1:{9001 + place}", self.engines[place]
        self.world.network.serve(address, engine.app, Process(engine.name))
        self.world.network.near.add(address)
        return WorkerNode(self.world, WORKERS[place], f"http://{address}")

    # ---- the run -------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """Begin, suffer, heal, rest, end."""
        self.server.start()
        for worker in self.workers:
            worker.start()
        await self._published()
        self.world.network.weather = self.plan.weather
        for engine in self.engines:
            engine.moods = self.plan.moods
        began = self.loop.time()
        asking = [self._spawn(self._call(number)) for number in range(TASKS)]
        suffering = [asyncio.ensure_future(self._suffer(trouble)) for trouble in self.plan.troubles]
        await asyncio.sleep(self.plan.ends_s)
        await asyncio.gather(*suffering)
        self._heal()
        self.trace.note("story", f"healed after {self.loop.time() - began:.3f} s")
        await self._answered(asking)
        await self._rested()
        if not self.laws.broken:
            await self._ended()

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        return self.loop.create_task(work, context=self.callers.context.copy())

    async def _published(self) -> None:
        """Until the pool is known: before, there is nothing to call."""
        caller = Caller(self.shared, -1, self.world.chance("first"))
        while True:
            got = await caller.insist(caller.request("GET", "/v1/models"))
            if got.body.count(b"tiny@") == len(WORKERS):
                return
            await asyncio.sleep(0.5)

    async def _call(self, number: int) -> None:
        chance = self.world.chance(f"caller {number}")
        kind = chance.choice(KINDS)
        await asyncio.sleep(chance.uniform(0.0, self.plan.ends_s * 0.8))
        self.trace.note(f"call-{number}", kind.__name__)
        await kind(Caller(self.shared, number, chance))

    async def _answered(self, asking: list[asyncio.Task[None]]) -> None:
        done, waiting = await asyncio.wait(asking, timeout=PATIENCE_S)
        for task in asking:
            if task in waiting:
                self.shared.breach(f"caller {asking.index(task)} still waits")
            elif (fault := task.exception()) is not None:
                self.shared.breach(f"caller {asking.index(task)} failed: {fault!r}")
        del done

    async def _rested(self) -> None:
        until = self.loop.time() + PATIENCE_S
        while left := unrest(self.laws, self.server, self.workers, self.engines):
            if self.loop.time() > until:
                for what in left:
                    self.shared.breach(f"no rest: {what}")
                return
            await asyncio.sleep(0.7)
        self.trace.note("story", "is at rest")

    async def _ended(self) -> None:
        """Everybody leaves; nothing may be left."""
        await asyncio.gather(*(worker.leave() for worker in self.workers))
        for worker in self.workers:
            if [name for name in worker.folder.files if name != "state.json"]:
                self.shared.breach(f"the folder of a worker holds {sorted(worker.folder.files)}")
        await self.server.leave(drain_s=10.0)
        await asyncio.sleep(60.0)
        if self.world.network.open_links:
            self.shared.breach(f"{self.world.network.open_links} connections are open")
        if self.callers.tasks:
            self.shared.breach(f"callers left {[task.get_name() for task in self.callers.tasks]}")

    # ---- troubles ------------------------------------------------------------------------------------------------

    async def _suffer(self, trouble: Trouble) -> None:
        await self._moment(trouble)
        if trouble.what is What.AWAY:
            engine = self.engines[WORKERS.index(trouble.who)]
            engine.away = True
            await asyncio.sleep(trouble.lasts_s)
            engine.away = False
        elif trouble.who == "server":
            await self._server_suffers(trouble)
        else:
            await self._worker_suffers(self.workers[WORKERS.index(trouble.who)], trouble)

    async def _moment(self, trouble: Trouble) -> None:
        """Until its time, or a few milliseconds after its cue."""
        if trouble.cue is None or trouble.cue in self.laws.cues:
            await asyncio.sleep(trouble.at_s)
            return
        cued = asyncio.Event()
        self.laws.cues[trouble.cue] = cued.set
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(trouble.at_s):
                await cued.wait()
                await asyncio.sleep(self.world.chance(f"{trouble}").uniform(0.0, 0.01))

    async def _server_suffers(self, trouble: Trouble) -> None:
        server = self.server
        match trouble.what:
            case What.STOP:
                server.stop()
                await asyncio.sleep(trouble.lasts_s)
                server.resume()
            case What.FULL:
                server.fill_disk(full=True)
                await asyncio.sleep(trouble.lasts_s)
                server.fill_disk(full=False)
            case What.LEAVE if server.up and not server.process.halted:
                await server.leave(trouble.lasts_s)
                await asyncio.sleep(0.3)
                server.start()
            case _:
                server.kill()
                await asyncio.sleep(trouble.lasts_s)
                server.start()

    async def _worker_suffers(self, worker: WorkerNode, trouble: Trouble) -> None:
        match trouble.what:
            case What.STOP:
                worker.stop()
                await asyncio.sleep(trouble.lasts_s)
                worker.resume()
            case What.FULL:
                worker.folder.full = True
                await asyncio.sleep(trouble.lasts_s)
                worker.folder.full = False
            case What.LEAVE if worker.up and not worker.process.halted:
                await worker.leave()
                worker.start()
            case _:
                worker.kill()
                await asyncio.sleep(trouble.lasts_s)
                worker.start(empty=trouble.what is What.EMPTY)

    def _heal(self) -> None:
        self.world.network.weather = CALM
        self.server.resume()
        self.server.start()
        self.server.fill_disk(full=False)
        for worker in self.workers:
            worker.folder.full = False
            worker.resume()
            worker.start()
        for engine in self.engines:
            engine.moods, engine.away = Moods(), False

    # ---- the end -------------------------------------------------------------------------------------------------

    def overhear(self) -> None:
        """What was logged as an error, or caught by nobody, before the dead are buried."""
        self.laws.broken.extend(self.world.network.faults)
        self.laws.broken.extend(self.loop.faults)
        for log in [*self.server.logs, *(log for worker in self.workers for log in worker.logs)]:
            self.laws.broken.extend(log.errors)

    def judge(self) -> None:
        """Once nobody runs any more: the store, what was accepted, what nobody caught."""
        for task_id, tag in self.shared.accepted.items():
            if self.laws.row(task_id) is None:
                self.shared.breach(f"the task of {tag} was accepted, it is gone")
        if any(worker.replaced for worker in self.workers):
            self.shared.breach("a worker was told that another runs on its state")
        if not self.path.exists():
            return
        connection = connect(self.path, self.world.clock)
        for violation in drive(check(connection)):
            self.shared.breach(f"the store breaks {violation}")
        connection.close()
        self._judge_answers()

    def _judge_answers(self) -> None:
        """Every stored answer is the whole answer of one engine, to the attempt that the row names."""
        driver = sqlite3.connect(self.path)
        answers = driver.execute(
            "SELECT t.id, t.attempt, t.streaming, t.request, t.response, a.llm_name, c.attempt, c.packed FROM tasks t"
            " JOIN attempts a ON a.task_id = t.id AND a.attempt = t.attempt"
            " LEFT JOIN chunks c ON c.task_id = t.id WHERE t.status = 'completed'"
        ).fetchall()
        driver.close()
        for answer in answers:
            self._judge_answer(Stored._make(answer))

    def _judge_answer(self, stored: "Stored") -> None:
        memory = self.shared.memory
        tag = msgspec.json.decode(stored.request)["tag"]
        who = f"the row {self.laws.name(stored.task_id)}"
        number = str(msgspec.json.decode(stored.response)["id"])
        said = memory.check_attempt(who, number, stored.task_id, stored.attempt)
        worker = stored.llm_name.partition("@")[2]
        if said is not None and said.engine != self.engines[WORKERS.index(worker)].name:
            self.shared.breach(f"{who} was completed by {worker} with an answer of {said.engine}")
        if not stored.streaming:
            memory.check_whole(who, tag, stored.response)
            return
        memory.check_assembled(who, tag, stored.response)
        if stored.chunks_of != stored.attempt or stored.packed is None:
            self.shared.breach(f"{who} has no stream of its last attempt")
        else:
            memory.check_stream(who, tag, unpack_chunks(stored.packed))


class Stored(NamedTuple):
    """A completed row with its stream."""

    task_id: str
    attempt: int
    streaming: int
    request: bytes
    response: bytes
    llm_name: str
    chunks_of: int | None
    packed: bytes | None


def run(seed: int, *, echo: bool = False) -> Result:
    """Play one seed's story to its end."""
    gc.disable()  # when the collector runs must not depend on what ran before
    try:
        with TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder:
            return _run(draw(seed), Path(folder), echo=echo)
    finally:
        gc.enable()


def _run(plan: Plan, folder: Path, *, echo: bool) -> Result:
    story = Story(plan, folder, echo=echo)
    loop, laws = story.loop, story.laws
    try:
        loop.run_until_complete(story.play())
    except (Stalled, Endless) as fault:
        story.shared.breach(str(fault))
    time_s, trace, steps = loop.time(), str(story.trace), STEPS - loop.steps_left
    story.server.kill()
    for worker in story.workers:
        worker.kill()
    story.overhear()
    loop.finish()
    story.judge()
    laws.close()
    return Result(
        seed=plan.seed,
        breaches=laws.broken,
        hash=story.trace.hash,
        trace=trace,
        steps=steps,
        time_s=time_s,
        commits=laws.commits,
        verbs=laws.seen,
    )
