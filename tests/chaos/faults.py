"""What each kind of fault does, until it is over."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tests.chaos.options import LOST_S, STOPPED_S, lapse
from tests.chaos.plan import Fault, Kind
from tests.chaos.stage import Box, Stage

_LOST: Final = "SELECT 1 FROM sessions WHERE worker_name = $1 AND active = 1"
_TERMINATE: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def strike(stage: Stage, fault: Fault) -> None:
    """Let it happen; over when this returns."""
    await _KINDS[fault.kind](stage, fault)


async def _server_killed(stage: Stage, fault: Fault) -> None:
    async with stage.busy_servers[fault.target]:
        member = stage.cluster.members[fault.target]
        await member.kill_server()
        await stage.revive(member)


async def _server_stopped(stage: Stage, fault: Fault) -> None:
    async with stage.busy_servers[fault.target]:
        server = stage.cluster.members[fault.target].server
        assert server is not None
        server.signal(signal.SIGSTOP)
        await lapse(STOPPED_S)
        server.signal(signal.SIGCONT)


async def _worker_killed(stage: Stage, fault: Fault) -> None:
    box = stage.boxes[fault.target]
    async with box.busy:
        assert box.program is not None
        await box.program.kill()
        await stage.start_worker(box)


async def _worker_stopped(stage: Stage, fault: Fault) -> None:
    box = stage.boxes[fault.target]
    async with box.busy:
        assert box.program is not None
        box.program.signal(signal.SIGSTOP)
        await _session_lost(stage, box)
        box.program.signal(signal.SIGCONT)


async def _network_cut(stage: Stage, fault: Fault) -> None:
    box = stage.boxes[fault.target]
    async with box.busy:
        for cable in box.cables:
            cable.hush()
        await _session_lost(stage, box)
        for cable in box.cables:
            if not fault.resumes:
                cable.cut()
            cable.mend()


async def _session_lost(stage: Stage, box: Box) -> None:
    """Until the rows say that the grace is over; a worker that had no session is left alone for as long."""
    loop = asyncio.get_running_loop()
    until = loop.time() + LOST_S
    while loop.time() < until and await stage.ask(_LOST, box.name):
        await lapse(0.2)


async def _postgres_restarted(stage: Stage, fault: Fault) -> None:
    async with stage.busy_postgres:
        await asyncio.to_thread(stage.postgres.stop, "immediate")
        await asyncio.to_thread(stage.postgres.start)


async def _backends_terminated(stage: Stage, fault: Fault) -> None:
    async with stage.busy_postgres:
        await stage.ask(_TERMINATE)


async def _notes_dropped(stage: Stage, fault: Fault) -> None:
    async with stage.busy_postgres:
        await stage.ask("UPDATE chaos SET muted = true")
        await lapse(STOPPED_S / 2)
        await stage.ask("UPDATE chaos SET muted = false")


_KINDS: Final[Mapping[Kind, Callable[[Stage, Fault], Awaitable[None]]]] = {
    Kind.SERVER_KILLED: _server_killed,
    Kind.SERVER_STOPPED: _server_stopped,
    Kind.WORKER_KILLED: _worker_killed,
    Kind.WORKER_STOPPED: _worker_stopped,
    Kind.NETWORK_CUT: _network_cut,
    Kind.POSTGRES_RESTARTED: _postgres_restarted,
    Kind.BACKENDS_TERMINATED: _backends_terminated,
    Kind.NOTES_DROPPED: _notes_dropped,
}
