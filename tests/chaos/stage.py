"""The processes of a chaos run: a PostgreSQL server of its own, servers, workers behind cables, the engine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg

from tests.chaos.options import HASTY, SHORT, Options, lapse
from tests.journeys.cable import Cable
from tests.journeys.cluster import Cluster, Member
from tests.journeys.processes import Program
from tests.store.throwaway import Throwaway

DATABASE: Final = "chaos"
PATIENCE_S: Final = 60.0

DROPPED: Final = "a notification goes nowhere"
MUTABLE: Final = f"""
CREATE TABLE chaos (muted boolean NOT NULL);
INSERT INTO chaos VALUES (false);
CREATE FUNCTION public.pg_notify(channel text, message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT muted FROM public.chaos) THEN
        RAISE LOG '{DROPPED}';
    ELSE
        PERFORM pg_catalog.pg_notify(channel, message);
    END IF;
END
$$;
ALTER DATABASE {DATABASE} SET search_path = public, pg_catalog;
"""
"""Lets the database drop every notification: whoever sends one is told that it was sent. Its log counts them: this is called where nothing may be written."""


class Box:
    """One worker, its cables to every server."""

    def __init__(self, name: str, cables: list[Cable], ways: list[str]) -> None:
        self.name = name
        self.cables = cables
        self.ways = ways
        self.program: Program | None = None
        self.busy = asyncio.Lock()
        """Held by the fault that has hit it."""


class Stage:
    """All of them."""

    def __init__(self, cluster: Cluster, postgres: Throwaway, options: Options) -> None:
        self.cluster = cluster
        self.postgres = postgres
        self.options = options
        self.boxes: list[Box] = []
        self.busy_servers = [asyncio.Lock() for _ in range(options.servers)]
        self.busy_postgres = asyncio.Lock()

    @property
    def urls(self) -> list[str]:
        """Where the servers are."""
        return [member.server_url for member in self.cluster.members]

    async def start(self) -> None:
        """Everything, linked."""
        await self.cluster.start(self.options.servers, SHORT)
        for number in range(self.options.workers):
            cables = [Cable(url) for url in self.urls]
            ways = [await cable.plug_in() for cable in cables]
            first = number % len(ways)
            box = Box(f"box-{number}", cables, ways[first:] + ways[:first])
            self.boxes.append(box)
            await self.start_worker(box)
        for box in self.boxes:
            assert box.program is not None
            await box.program.says("linked to the server")

    async def start_worker(self, box: Box) -> None:
        """Start it, on its state folder."""
        member = self.cluster.members[0]
        slots = self.options.slots
        box.program = await member.start_worker(box.name, slots=slots, linked=False, via=box.ways, **HASTY)

    async def revive(self, member: Member) -> None:
        """Start a server again; without its database it ends at once, so it is started until it stays."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(AssertionError):
                    await member.start_server(**SHORT)
                    return

    async def ask(self, statement: str, *values: str) -> list[tuple[object, ...]]:
        """Run one statement, again for as long as the database is away."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(
                    OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
                ):
                    return await self._asked(statement, values)
                await lapse(0.1)  # a socket that is not there refuses without giving way to anybody else

    async def _asked(self, statement: str, values: tuple[str, ...]) -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(self.cluster.url, timeout=5, server_settings={"application_name": "chaos"})
        try:
            return [tuple(record) for record in await connection.fetch(statement, *values)]
        finally:
            connection.terminate()

    def dropped(self) -> int:
        """Notifications that went nowhere."""
        lines = (self.postgres.folder / "log").read_text(errors="replace").splitlines()
        return len([line for line in lines if line.endswith(DROPPED)])

    async def close(self) -> None:
        """Unplug the cables."""
        for box in self.boxes:
            for cable in box.cables:
                await cable.unplug()


@contextlib.asynccontextmanager
async def opened_stage(folder: Path, options: Options) -> AsyncIterator[Stage]:
    """Nothing runs yet but PostgreSQL, as it is installed: every commit reaches the disk."""
    postgres = await asyncio.to_thread(Throwaway, settings=())
    try:
        await _prepare(postgres)
        async with aiohttp.ClientSession() as http:
            cluster = Cluster(folder, http, postgres.url(DATABASE))
            stage = Stage(cluster, postgres, options)
            try:
                yield stage
            finally:
                await cluster.close()
                await stage.close()
    finally:
        await asyncio.to_thread(postgres.throw_away)


async def _prepare(postgres: Throwaway) -> None:
    for url, script in ((postgres.url(), f"CREATE DATABASE {DATABASE}"), (postgres.url(DATABASE), MUTABLE)):
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(script)
        finally:
            await connection.close()
