"""The worker as a whole: its parts put together, its life from the first look at the engine to the leave."""

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial

from inferpool.client.caller import ServerCaller
from inferpool.client.server import ServerClient
from inferpool.core.errors import SessionReplaced
from inferpool.wire.sessions import RegisterReply, WorkerInfo
from inferpool.worker.attempts import Attempts
from inferpool.worker.backoff import Backoff, Ceiling
from inferpool.worker.discovery import Discovery, EngineSource
from inferpool.worker.disk import PatientDisk
from inferpool.worker.link import Link
from inferpool.worker.options import WorkerOptions
from inferpool.worker.outbox import Outbox
from inferpool.worker.parts import WorkerParts
from inferpool.worker.registration import Claims, Registration
from inferpool.worker.relay import Relay
from inferpool.worker.roster import Roster, Tell
from inferpool.worker.shelf import Shelf
from inferpool.worker.state import WorkerState
from inferpool.worker.uplink import Uplink

FIRST_LOOK_S = 2.0
"""For the engines to answer before the first registration."""
GRACE_S = 10.0
"""The server's usual grace, until it tells its own."""


class Worker:
    """One worker beside its engines. Made inside a running event loop."""

    def __init__(self, options: WorkerOptions, parts: WorkerParts) -> None:
        self._options = options
        self._log = parts.log
        self._leave = asyncio.Event()
        disk = PatientDisk(parts.disk, parts.log)
        self._ceiling = Ceiling(GRACE_S)
        new_backoff = partial(Backoff, parts.jitter, self._ceiling)
        server = ServerClient(ServerCaller(parts.server, options.server_urls, options.server_token), options.patience)
        state = WorkerState(disk, parts.new_id, parts.new_secret, parts.log)
        source = EngineSource(parts.engine, options.engine_key)
        engines = [source.keyed(url) for url in options.engine_urls]
        self._outbox = Outbox(options.outbox, Shelf(disk, parts.log), self._stop)
        self._roster = Roster(options, engines, state, Tell(self._outbox.say, self._register_again), parts.log)
        self._discovery = None if engines else Discovery(options, source, self._roster.add, parts.log)
        registration = Registration(
            server,
            state,
            Claims(
                WorkerInfo(name=options.name, version=options.version, labels=options.labels),
                self._roster.offers,
                self._outbox.holding,
            ),
            new_backoff(),
            parts.log,
        )
        self._link = Link(
            server, registration, Uplink(server, self._outbox, new_backoff(), parts.log), new_backoff, parts.log
        )
        relay = Relay(options.silence_s, parts.clock)
        self._attempts = Attempts(self._outbox, self._roster, relay, self._link.fetch, parts.log)

    def leave(self) -> None:
        """Begin to leave: nothing new is taken, what runs may finish within `leave_s`, the rest is given back."""
        self._leave.set()

    async def run(self) -> None:
        """Work until the leave is over.

        Raises `SessionReplaced` when another process runs on this worker's state, `ProtocolUnsupported` when one side
        must be upgraded; in each case what waits is on disk.
        """
        duties: list[Awaitable[None]] = [self._departed(), self._linked()]
        duties += [lookout.watch() for lookout in self._roster.lookouts]
        if self._discovery is not None:
            duties.append(self._discovery.run())
        tasks = [asyncio.ensure_future(duty) for duty in duties]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _cancel(tasks)
            await self._attempts.close()
            self._outbox.shelving.close()

    async def _linked(self) -> None:
        # One registration with all llms is better than two, but what waits in the outbox is not to wait for an engine.
        looks = [lookout.look() for lookout in self._roster.lookouts]
        if self._discovery is not None:
            looks.append(self._discovery.look())
        await _within(FIRST_LOOK_S, asyncio.gather(*looks))
        try:
            await self._link.run(self._bound, self._attempts.hear)
        except SessionReplaced as error:
            told = f"another process runs on this worker's state, so this one ends: {error.message}"
            raise SessionReplaced(told, error.epoch) from error

    async def _departed(self) -> None:
        await self._leave.wait()
        self._log.info("leaving: nothing new is taken")
        self._attempts.refuse_new()
        telling = asyncio.ensure_future(self._link.leave())
        try:
            await _within(self._options.leave_s, self._attempts.idle.wait())
            self._attempts.give_back()
            await _within(self._options.flush_s, self._flushed(telling))
        finally:
            await _cancel([telling])

    async def _flushed(self, telling: Awaitable[None]) -> None:
        await telling
        await self._attempts.idle.wait()
        await self._outbox.empty.wait()

    def _bound(self, reply: RegisterReply) -> None:
        self._ceiling.set(reply.grace_s)
        self._outbox.bind(reply)
        self._roster.bound()

    def _stop(self, task_id: str, attempt: int) -> None:
        self._attempts.stop(task_id, attempt)

    def _register_again(self) -> None:
        self._link.register_again()


async def _within(seconds: float, awaited: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await awaited
    except TimeoutError:
        return


async def _cancel(tasks: Sequence[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
