"""One seed, one run: a server or several, two workers, forty callers, their troubles, then peace."""

import asyncio
import gc
from collections.abc import Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from tests.simulation.callers import Caller
from tests.simulation.cast import STEPS, Cast
from tests.simulation.kinds import KINDS
from tests.simulation.loop import Endless, Stalled
from tests.simulation.plan import TASKS, WORKERS, Plan, draw
from tests.simulation.rest import Idleness, unrest
from tests.simulation.troubles import befall, heal
from tests.simulation.verdict import judge, overhear

SHM = Path("/dev/shm")  # a crash of a process loses nothing that was written, so memory is as good as a disk
PATIENCE_S = 240.0
"""After everything is healed, the run must come to rest within this time."""


class Result(msgspec.Struct, frozen=True):
    """How a run went."""

    seed: int
    servers: int
    breaches: list[str]
    hash: str
    trace: str
    steps: int
    time_s: float
    commits: int
    verbs: dict[str, int]


async def play(cast: Cast) -> None:
    """Begin, suffer, heal, rest, end."""
    plan = cast.plan
    for server in cast.servers:
        server.start()
    for worker in cast.workers:
        worker.start()
    await _published(cast)
    cast.world.network.weather = plan.weather
    if cast.world.hub is not None:
        cast.world.hub.weather = plan.signals
    for engine in cast.engines:
        engine.moods = plan.moods
    began = cast.loop.time()
    asking = [_spawn(cast, _call(cast, number)) for number in range(TASKS)]
    idleness = Idleness(cast)
    watching = asyncio.ensure_future(idleness.watch())
    suffering = [asyncio.ensure_future(befall(cast, trouble)) for trouble in plan.troubles]
    await asyncio.sleep(plan.ends_s)
    await asyncio.gather(*suffering)
    heal(cast)
    cast.trace.note("story", f"healed after {cast.loop.time() - began:.3f} s")
    await _answered(cast, asking)
    await _rested(cast, idleness)
    watching.cancel()
    if not cast.laws.broken:
        await _ended(cast)


def _spawn(cast: Cast, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
    return cast.loop.create_task(work, context=cast.callers.context.copy())


async def _published(cast: Cast) -> None:
    """Until every server knows the pool: before, there is nothing to call."""
    chance = cast.world.chance("first")
    for server in cast.servers:
        caller = Caller(msgspec.structs.replace(cast.shared, addresses=(server.address,)), -1, chance)
        while (await caller.insist(caller.request("GET", "/v1/models"))).body.count(b"tiny@") != len(WORKERS):
            await asyncio.sleep(0.5)


async def _call(cast: Cast, number: int) -> None:
    chance = cast.world.chance(f"caller {number}")
    kind = chance.choice(KINDS)
    await asyncio.sleep(chance.uniform(0.0, cast.plan.ends_s * 0.8))
    cast.trace.note(f"call-{number}", kind.__name__)
    await kind(Caller(cast.shared, number, chance))


async def _answered(cast: Cast, asking: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(asking, timeout=PATIENCE_S)
    for number, task in enumerate(asking):
        if not task.done():
            cast.shared.breach(f"caller {number} still waits")
        elif (fault := task.exception()) is not None:
            cast.shared.breach(f"caller {number} failed: {fault!r}")


async def _rested(cast: Cast, idleness: Idleness) -> None:
    until = cast.loop.time() + PATIENCE_S
    idleness.begin()
    while left := unrest(cast):
        idleness.look()
        if cast.loop.time() > until:
            for what in left:
                cast.shared.breach(f"no rest: {what}")
            return
        await asyncio.sleep(0.7)
    cast.trace.note("story", "is at rest")


async def _ended(cast: Cast) -> None:
    """Everybody leaves; nothing may be left."""
    acting = [node for worker in cast.workers for node in worker.acting]
    await asyncio.gather(*(node.leave() for node in acting))
    for worker in acting:
        if [name for name in worker.folder.files if name != "state.json"]:
            cast.shared.breach(f"the folder of a worker holds {sorted(worker.folder.files)}")
    for server in cast.servers:
        await server.leave(drain_s=10.0)
    await asyncio.sleep(60.0)
    if cast.world.network.open_links:
        cast.shared.breach(f"{cast.world.network.open_links} connections are open")
    if cast.callers.tasks:
        cast.shared.breach(f"callers left {[task.get_name() for task in cast.callers.tasks]}")


def run(seed: int, servers: int | None = None, *, echo: bool = False) -> Result:
    """Play one seed's story to its end; with as many servers as the mixture gives it, unless told."""
    gc.disable()  # when the collector runs must not depend on what ran before
    try:
        with TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder:
            return _run(draw(seed, servers), Path(folder), echo=echo)
    finally:
        gc.enable()


def _run(plan: Plan, folder: Path, *, echo: bool) -> Result:
    cast = Cast(plan, folder, echo=echo)
    loop, laws = cast.loop, cast.laws
    try:
        loop.run_until_complete(play(cast))
    except (Stalled, Endless) as fault:
        cast.shared.breach(str(fault))
    time_s, trace, steps = loop.time(), str(cast.trace), STEPS - loop.steps_left
    for server in cast.servers:
        server.kill()
    for worker in cast.nodes:
        worker.kill()
    overhear(cast)
    loop.finish()
    judge(cast)
    laws.close()
    return Result(
        seed=plan.seed,
        servers=len(plan.servers),
        breaches=laws.broken,
        hash=cast.trace.hash,
        trace=trace,
        steps=steps,
        time_s=time_s,
        commits=laws.commits,
        verbs=laws.seen,
    )
