"""What servers of one database do to each other's sessions, in short words."""

from collections.abc import Sequence

import msgspec

from inferpool.core.clock import SECOND
from inferpool.core.ids import ServerId
from inferpool.store.protocol import Moved, SessionLoss
from inferpool.store.servers_protocol import SessionStanding
from tests.store.builders import SERVER, Rig, Worker

DEAD_AFTER = 6 * SECOND
"""How long after its heartbeat a server is alive."""


def orphaned(worker: Worker) -> SessionLoss:
    """The end of its session because its server is dead."""
    return msgspec.structs.replace(worker.loss(), orphaned=True)


async def standing(rig: Rig, worker: Worker) -> SessionStanding:
    """Where its session stands."""
    [found] = await rig.reader.session_standings([worker.id])
    return found


async def rescue(rig: Rig, worker: Worker) -> list[Moved] | None:
    """End the session because its server is dead."""
    return await rig.store.deactivate(orphaned(worker))


async def beat(rig: Rig, servers: Sequence[ServerId] = (SERVER,)) -> None:
    """Let servers beat."""
    for one in servers:
        await rig.store.beat(one, [])
