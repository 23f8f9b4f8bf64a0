"""The whole relay in one event loop, over real sockets: an engine of raw bytes, the real worker, the real server with its store."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from inferpool.client.http import AiohttpTransport
from inferpool.compose import WallClock, new_id, new_secret
from inferpool.worker.options import OutboxOptions, WorkerOptions
from inferpool.worker.parts import WorkerParts
from inferpool.worker.run import Worker
from tests.relay.raw_engine import MODEL, RawEngine, listening
from tests.server.rig import PATIENCE_S
from tests.server.test_run import Running, free, served
from tests.worker.parts import MemoryDisk, QuietLog

TASKS: Final = "/api/v1/inference-tasks"


class Streamed(msgspec.Struct, frozen=True):
    """What a caller got."""

    status: int
    body: bytes
    task_id: str


class Relay:
    """The two ends."""

    def __init__(self, server: Running, engine: RawEngine) -> None:
        self.server = server
        self.engine = engine

    async def stream(self, endpoint: str, *segments: bytes, breaks: bool = False, **headers: str) -> Streamed:
        """Call the endpoint while the engine answers with these segments."""
        self.engine.segments, self.engine.breaks = segments, breaks
        body = {"model": MODEL, "messages": [], "stream": True}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            asyncio.timeout(PATIENCE_S),
            self.server.http.post(f"{self.server.url}/v1/{endpoint}", json=body, headers=named) as reply,
        ):
            return Streamed(reply.status, await reply.read(), reply.headers["inferpool-task-id"])

    async def replayed(self, task_id: str) -> bytes:
        """The task's own stream, after its end."""
        async with self.server.http.get(f"{self.server.url}{TASKS}/{task_id}/stream") as reply:
            assert reply.status == 200
            return await reply.read()

    async def answer(self, task_id: str) -> object:
        """The body that the task kept."""
        async with self.server.http.get(f"{self.server.url}{TASKS}/{task_id}") as reply:
            task = await reply.json()
            return task["response"]["body"]

    async def published(self) -> None:
        """Until callers may name the model."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.server.status(f"/v1/models/{MODEL}") != 200:
                pass


@asynccontextmanager
async def relaying(folder: Path) -> AsyncIterator[Relay]:
    """Server, worker, engine, ready for calls."""
    async with listening() as engine, served(folder, free()) as server, working(server.url, engine.url):
        relay = Relay(server, engine)
        await relay.published()
        yield relay


@asynccontextmanager
async def working(server_url: str, engine_url: str) -> AsyncIterator[None]:
    """A worker between the two."""
    to_server, to_engine = AiohttpTransport(), AiohttpTransport()
    options = WorkerOptions(
        name="box",
        server_urls=[server_url],
        engine_urls=[engine_url],
        probe_s=600.0,
        outbox=OutboxOptions(shelve_after_s=60.0),
    )
    parts = WorkerParts(
        to_server, to_engine, MemoryDisk(), new_id, new_secret, WallClock(), random.Random(7), QuietLog()
    )
    life = asyncio.create_task(Worker(options, parts).run())
    try:
        yield
    finally:
        life.cancel()
        await asyncio.wait({life})
        await to_engine.close()
        await to_server.close()
