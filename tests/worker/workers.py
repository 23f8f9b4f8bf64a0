"""A whole worker in a scripted world."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from inferpool.client.server import Patience
from inferpool.wire.sessions import Event
from inferpool.worker.options import OutboxOptions, WorkerOptions
from inferpool.worker.parts import WorkerParts
from inferpool.worker.run import Worker
from tests.worker.engine_peer import EnginePeer
from tests.worker.memory import PATIENCE_S
from tests.worker.parts import FixedClock, HalfJitter, MemoryDisk, QuietLog
from tests.worker.server_peer import ServerPeer


class House:
    """The outside world of one worker; it outlives the worker's processes."""

    def __init__(self) -> None:
        self.server = ServerPeer()
        self.engine = EnginePeer()
        self.disk = MemoryDisk()
        self.log = QuietLog()
        self.options = WorkerOptions(
            name="box",
            server_urls=["http://server"],
            engine_urls=["http://engine/v1"],
            probe_s=60.0,
            patience=Patience(answer_s=5.0, channel_s=60.0),
            outbox=OutboxOptions(shelve_after_s=60.0),
        )
        self._ids = 0

    def set(self, **options: object) -> None:
        self.options = msgspec.structs.replace(self.options, **options)

    def set_outbox(self, **options: object) -> None:
        self.set(outbox=msgspec.structs.replace(self.options.outbox, **options))

    def worker(self) -> Worker:
        parts = WorkerParts(
            server=self.server.transport,
            engine=self.engine.transport,
            disk=self.disk,
            new_id=self._new_id,
            new_secret=self._new_secret,
            clock=FixedClock(),
            jitter=HalfJitter(),
            log=self.log,
        )
        return Worker(self.options, parts)

    def state(self) -> dict[str, object]:
        """What the state file says."""
        return msgspec.json.decode(self.disk.files["state.json"], type=dict[str, object])

    def events(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.server.events if isinstance(event, kind)]

    async def until_event(self, kind: type[Event], count: int = 1) -> Event:
        await self.server.signal.until(lambda: len(self.events(kind)) >= count)
        return self.events(kind)[count - 1]

    async def until_linked(self, times: int = 1) -> None:
        await self.server.signal.until(lambda: self.server.channels >= times)

    def _new_id(self) -> str:
        self._ids += 1
        return f"session-{self._ids}"

    def _new_secret(self) -> str:
        return f"secret-{self._ids}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Worker]:
        """A worker that runs until the end of the block, then is killed."""
        worker = self.worker()
        life = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            life.cancel()
            await asyncio.wait({life}, timeout=PATIENCE_S)
            assert life.cancelled() or life.exception() is None
        assert self.engine.transport.open_now == 0
        assert self.server.transport.open_now == 0

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[Worker]:
        """The same, from the moment that its channel is bound."""
        async with self.running() as worker:
            await self.until_linked()
            yield worker
