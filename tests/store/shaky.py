"""Stores on a PostgreSQL that goes away, with the means to make it go."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from inferpool.store.postgres import PostgresOptions, PostgresPair, open_postgres
from inferpool.store.postgres_driver import Timeouts
from tests.store.builders import new_id
from tests.store.rigs import PostgresRig
from tests.store.side_desk import SideDesk
from tests.store.throwaway import server
from tests.store.wires import Wire, listening

PATIENT = Timeouts(patience_s=60.0)
IMPATIENT = Timeouts(patience_s=0.0)


@asynccontextmanager
async def opened(desk: SideDesk, timeouts: Timeouts = PATIENT, url: str | None = None) -> AsyncIterator[PostgresRig]:
    """A store on the database, reached by the URL if another is given."""
    pair = await open_postgres(
        url or desk.url, writer_id=new_id(), options=PostgresOptions(readers=1, timeouts=timeouts)
    )
    try:
        yield PostgresRig(pair.store, pair.reader, desk)
    finally:
        await pair.close()


@asynccontextmanager
async def wired(desk: SideDesk) -> AsyncIterator[tuple[PostgresRig, Wire]]:
    """A store that reaches the database through a wire."""
    wire = Wire(server().folder)
    async with listening(wire.serve) as folder, opened(desk, url=through(folder, desk.url)) as rig:
        yield rig, wire


def through(folder: str, url: str) -> str:
    """The address that reaches the server through a wire."""
    return url.replace(str(server().folder), folder)


def terminate(desk: SideDesk) -> None:
    """End every connection but our own; returns when they have ended."""
    desk.sql(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


@asynccontextmanager
async def opened_at(url: str, timeouts: Timeouts) -> AsyncIterator[PostgresPair]:
    pair = await open_postgres(url, writer_id=new_id(), options=PostgresOptions(readers=1, timeouts=timeouts))
    try:
        yield pair
    finally:
        await pair.close()


async def in_thread(work: Callable[[], None]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, work)


async def turn_of_the_loop() -> None:
    turned = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turned.set_result, None)
    await turned
