"""Dispatch as a whole: its parts joined, one start, one stop."""

import asyncio
import contextlib
from collections.abc import Callable

import msgspec

from inferpool.core.clock import Clock, Jitter
from inferpool.core.errors import InferpoolError
from inferpool.core.histogram import Flushes
from inferpool.core.ids import NewId, ServerId
from inferpool.dispatch.access import Access, Makers
from inferpool.dispatch.announcer import Announcer
from inferpool.dispatch.audit import Trail
from inferpool.dispatch.background import Background, Log
from inferpool.dispatch.backlog import Backlog
from inferpool.dispatch.bus import Bus
from inferpool.dispatch.catalog import Catalog
from inferpool.dispatch.feed import Feed
from inferpool.dispatch.hearing import Hearing
from inferpool.dispatch.intake import Intake
from inferpool.dispatch.line import Queue
from inferpool.dispatch.losses import Losses
from inferpool.dispatch.moves import Moves
from inferpool.dispatch.net import Net
from inferpool.dispatch.options import DispatchOptions
from inferpool.dispatch.pace import Pace
from inferpool.dispatch.peers import Peers
from inferpool.dispatch.poll import Heartbeat, Poll
from inferpool.dispatch.pools import Pools
from inferpool.dispatch.roaming import Roaming
from inferpool.dispatch.scheduler import Scheduler
from inferpool.dispatch.sessions import SessionDesk
from inferpool.dispatch.shared import Shared
from inferpool.dispatch.sweeps import Sweeps
from inferpool.dispatch.tally import Tally
from inferpool.store.protocol import Store, StoreReader
from inferpool.store.servers_protocol import Signals


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What comes from outside: the present, identity, chance, the log."""

    clock: Clock
    new_id: NewId
    new_secret: Callable[[], str]
    jitter: Jitter
    log: Log
    own_token: str | None = None
    """What the worker in this very process shows, if there is one."""
    signals: Signals | None = None
    """The way to other servers; None: there is none."""


class Dispatch:
    """The use cases of one server over one store."""

    def __init__(
        self, store: Store, reader: StoreReader, options: DispatchOptions, parts: Parts, server_id: ServerId
    ) -> None:
        self.reader = reader
        self.options = options
        self.ready = False
        self.tally = Tally()
        self.flushes: Flushes = store.flushes
        self.bus = Bus(parts.signals, server_id, parts.log)
        self.peers = Peers()
        self.catalog = Catalog(parts.clock, shared=not self.bus.alone)
        self.feed = Feed(reader)
        self.backlog = Backlog(options, shared=not self.bus.alone)
        self.pace = Pace(self.catalog, self.backlog, self.peers)
        self.queue = Queue(reader, self.backlog, self.pace, parts.clock)
        self.background = Background(parts.log)
        shared = self._share(store, parts, server_id)
        self._log = parts.log
        self._store = store
        self._server_id = server_id
        self.pools = Pools(shared)
        self.scheduler = Scheduler(shared)
        moves = Moves(shared, self.scheduler)
        self.losses = Losses(shared, moves)
        self.intake = Intake(shared, self.scheduler, moves)
        roaming = Roaming(shared, self.scheduler, self.losses)
        self.desk = SessionDesk(shared, self.scheduler, moves, self.losses, roaming)
        self.access = Access(store, reader, Makers(parts.clock, parts.new_id, parts.new_secret, parts.own_token))
        self.trail = Trail(store, parts.clock, parts.new_id)
        self.net = Net(shared, self.scheduler, self.losses, roaming)
        more = [self.access.refresh, self.trail.flush, *self.net.duties()]
        self.poll = Poll(shared, self.scheduler, moves, self.losses, more)
        self.bus.join(shared.announcer.collect, Hearing(shared, self.scheduler, moves, roaming).hear, self.net.missed)
        self.feed.sought = shared.announcer.watch
        self.heartbeat = Heartbeat(shared)
        self.sweeps = Sweeps(shared, moves, roaming)

    def _share(self, store: Store, parts: Parts, server_id: ServerId) -> Shared:
        """What its parts work with."""
        return Shared(
            store=store,
            reader=self.reader,
            options=self.options,
            server_id=server_id,
            clock=parts.clock,
            new_id=parts.new_id,
            new_secret=parts.new_secret,
            jitter=parts.jitter,
            log=parts.log,
            background=self.background,
            catalog=self.catalog,
            backlog=self.backlog,
            feed=self.feed,
            pace=self.pace,
            tally=self.tally,
            bus=self.bus,
            peers=self.peers,
            announcer=Announcer(self.bus, self.peers),
        )

    @property
    def accepting(self) -> bool:
        """Whether new calls are taken."""
        return self.ready and self.intake.accepting

    async def open(self) -> None:
        """Read back what memory needs, start the loops; ready afterwards."""
        await self.access.recall()
        await self.heartbeat.beat()
        await self.catalog.recall(self.reader)
        await self.backlog.recall(self.reader)
        self.catalog.know(self.backlog.lanes())
        await self.losses.find_orphans()
        self.bus.start(self.background)
        self.background.spawn(self.scheduler.run(), "scheduler")
        self.background.spawn(self.heartbeat.run(), "heartbeat")
        self.background.spawn(self.poll.run(), "poll")
        for duty in self.sweeps.duties():
            self.background.spawn(self.sweeps.run(duty), f"sweep of {duty.name}")
        self.ready = True

    async def drain(self, timeout_s: float) -> None:
        """Take no new calls, wait until the accepted ones have their answers; session routes, reads stay open."""
        self.intake.accepting = False
        self._log.info("draining", waiting=self.feed.callers.blocked)
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while self.feed.callers.blocked and loop.time() < until:
            await self.feed.callers.changed(until - loop.time())

    async def close(self) -> None:
        """End channels, watchers, loops. What still runs goes on at its worker, for the next server."""
        self.intake.accepting = False
        self.ready = False
        self.feed.close()
        for session in list(self.catalog.sessions.values()):
            if session.channel is not None:
                session.channel.close()
        await self.background.close()
        with contextlib.suppress(InferpoolError):  # the store is gone: nobody is left to be told
            await self.trail.flush()
            if not self.bus.alone:
                await self._store.retire_server(self._server_id)
