"""What befalls the processes of a run, until they are healed."""

import asyncio
import contextlib

from tests.simulation.cast import Cast
from tests.simulation.engine import Moods
from tests.simulation.nodes import ServerNode
from tests.simulation.plan import WORKERS, Trouble, What
from tests.simulation.weather import CALM
from tests.simulation.workers import WorkerNode

_OF_HINTS = frozenset({What.DEAF, What.MUTE})


async def befall(cast: Cast, trouble: Trouble) -> None:
    """Wait for the trouble's moment, let it happen, let it pass."""
    await _moment(cast, trouble)
    if trouble.what is What.AWAY:
        engine = cast.engines[WORKERS.index(trouble.who)]
        engine.away = True
        await asyncio.sleep(trouble.lasts_s)
        engine.away = False
    elif (server := cast.server(trouble.who)) is not None:
        await (_lose_hints if trouble.what in _OF_HINTS else _befall_server)(cast, server, trouble)
    else:
        await _befall_worker(cast, cast.workers[WORKERS.index(trouble.who)], trouble)


async def _moment(cast: Cast, trouble: Trouble) -> None:
    """Until its time, or a few milliseconds after its cue."""
    if trouble.cue is None or trouble.cue in cast.laws.cues:
        await asyncio.sleep(trouble.at_s)
        return
    cued = asyncio.Event()
    cast.laws.cues[trouble.cue] = cued.set
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(trouble.at_s):
            await cued.wait()
            await asyncio.sleep(cast.world.chance(f"{trouble}").uniform(0.0, 0.01))


async def _lose_hints(cast: Cast, server: ServerNode, trouble: Trouble) -> None:
    """Between this process of the server and the others, in one direction."""
    hub, process = cast.world.hub, server.process
    if hub is None:
        return
    cast.trace.note(process.name, trouble.what.value)
    if trouble.what is What.DEAF:
        hub.cut(process)
    else:
        hub.mute[process] = None
    await asyncio.sleep(trouble.lasts_s)
    hub.notice(process)
    hub.mute.pop(process, None)


async def _befall_server(cast: Cast, server: ServerNode, trouble: Trouble) -> None:
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


async def _befall_worker(cast: Cast, worker: WorkerNode, trouble: Trouble) -> None:
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
        case What.CLONE if "state.json" in worker.folder.files:
            worker.clone()
        case What.CLONE:
            pass  # there is no identity yet that two could share
        case _:
            worker.kill()
            await asyncio.sleep(trouble.lasts_s)
            # With a copy of the lost folder alive elsewhere, there would be two sessions of one name, for ever.
            worker.start(empty=trouble.what is What.EMPTY and not worker.clones)


def heal(cast: Cast) -> None:
    """Good weather, everybody up, room on every disk."""
    cast.world.network.weather = CALM
    for server in cast.servers:
        server.resume()
        server.start()
        server.fill_disk(full=False)
    if cast.world.hub is not None:
        cast.world.hub.heal()
    for worker in cast.workers:
        worker.folder.full = False
        worker.resume()
        if not any(clone.up for clone in worker.clones):
            worker.start()
    for engine in cast.engines:
        engine.moods, engine.away = Moods(), False
