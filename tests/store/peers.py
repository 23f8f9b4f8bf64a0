"""Servers that share one database, with what they do to each other's sessions in short words."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import msgspec

from inferpool.core.clock import SECOND
from inferpool.core.ids import ServerId
from inferpool.store.invariants import check
from inferpool.store.postgres import PostgresOptions, open_postgres
from inferpool.store.postgres_driver import Timeouts
from inferpool.store.protocol import Moved, SessionLoss
from inferpool.store.servers_protocol import SessionStanding
from tests.store.builders import SERVER, Rig, Worker
from tests.store.rigs import PostgresRig
from tests.store.side_desk import SideDesk

DEAD_AFTER = 6 * SECOND
"""How long after its heartbeat a server is alive."""

SERVERS = (ServerId("server 1"), ServerId("server 2"))


class Two(NamedTuple):
    """Two servers on one database."""

    first: PostgresRig
    second: PostgresRig


@asynccontextmanager
async def two_servers(desk: SideDesk, timeouts: Timeouts | None = None) -> AsyncIterator[Two]:
    """Two stores on one emptied database; at the end its doctor has nothing to say."""
    options = PostgresOptions(readers=1, timeouts=timeouts or Timeouts())
    async with AsyncExitStack() as exits:
        rigs = []
        for name in SERVERS:
            pair = await open_postgres(desk.url, writer_id=name, options=options)
            exits.push_async_callback(pair.close)
            await pair.store.beat(name, [])
            rigs.append(PostgresRig(pair.store, pair.reader, desk))
        yield Two(*rigs)
        doctor = rigs[0].doctor()
        exits.callback(doctor.close)
        assert await check(doctor) == []


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
