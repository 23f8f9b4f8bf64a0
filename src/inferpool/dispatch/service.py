"""Dispatch as a whole: its parts joined, one start, one stop."""

import asyncio
from collections.abc import Callable

import msgspec

from inferpool.core.clock import Clock, Jitter
from inferpool.core.ids import NewId, ServerId
from inferpool.dispatch.background import Background, Log
from inferpool.dispatch.backlog import Backlog
from inferpool.dispatch.catalog import Catalog
from inferpool.dispatch.feed import Feed
from inferpool.dispatch.intake import Intake, IntakeParts
from inferpool.dispatch.losses import Losses
from inferpool.dispatch.moves import Moves
from inferpool.dispatch.options import DispatchOptions
from inferpool.dispatch.pace import Pace
from inferpool.dispatch.poll import Heartbeat, Poll, PollParts
from inferpool.dispatch.scheduler import Scheduler, SchedulerParts
from inferpool.dispatch.sessions import DeskParts, SessionDesk
from inferpool.dispatch.sweeps import Sweeps
from inferpool.dispatch.uplink import Uplink, UplinkParts
from inferpool.store.protocol import Store, StoreReader


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What comes from outside: the present, identity, chance, the log."""

    clock: Clock
    new_id: NewId
    new_secret: Callable[[], str]
    jitter: Jitter
    log: Log


class Dispatch:
    """The use cases of one server over one store."""

    def __init__(
        self, store: Store, reader: StoreReader, options: DispatchOptions, parts: Parts, server_id: ServerId
    ) -> None:
        self.reader = reader
        self.options = options
        self.ready = False
        self._store = store
        self._log = parts.log
        self._server_id = server_id
        self.background = Background(parts.log)
        self.catalog = Catalog()
        self.feed = Feed(reader)
        self.pace = Pace(self.catalog)
        self._backlog = Backlog(options)
        self.scheduler = Scheduler(self._scheduler_parts(parts))
        self._moves = Moves(self.catalog, self._backlog, self.feed, self.scheduler, self.background)
        self.losses = Losses(store, reader, self.catalog, self._moves, parts.log, server_id=server_id)
        self.intake = Intake(self._intake_parts(parts))
        self.desk = SessionDesk(self._desk_parts(parts))
        poll_parts = self._poll_parts()
        self.poll = Poll(poll_parts)
        self.heartbeat = Heartbeat(poll_parts)
        self.sweeps = Sweeps(poll_parts)
        self.backlog = self._backlog

    def _scheduler_parts(self, parts: Parts) -> SchedulerParts:
        return SchedulerParts(
            store=self._store,
            catalog=self.catalog,
            backlog=self._backlog,
            feed=self.feed,
            options=self.options,
            new_id=parts.new_id,
            server_id=self._server_id,
        )

    def _intake_parts(self, parts: Parts) -> IntakeParts:
        return IntakeParts(
            store=self._store,
            reader=self.reader,
            catalog=self.catalog,
            backlog=self._backlog,
            feed=self.feed,
            scheduler=self.scheduler,
            moves=self._moves,
            background=self.background,
            options=self.options,
            new_id=parts.new_id,
        )

    def _desk_parts(self, parts: Parts) -> DeskParts:
        uplink = Uplink(
            UplinkParts(
                store=self._store,
                reader=self.reader,
                catalog=self.catalog,
                backlog=self._backlog,
                feed=self.feed,
                scheduler=self.scheduler,
                pace=self.pace,
                options=self.options,
                jitter=parts.jitter,
            )
        )
        return DeskParts(
            store=self._store,
            reader=self.reader,
            catalog=self.catalog,
            backlog=self._backlog,
            feed=self.feed,
            scheduler=self.scheduler,
            moves=self._moves,
            uplink=uplink,
            losses=self.losses,
            background=self.background,
            options=self.options,
            new_id=parts.new_id,
            new_secret=parts.new_secret,
            log=parts.log,
        )

    def _poll_parts(self) -> PollParts:
        return PollParts(
            store=self._store,
            reader=self.reader,
            catalog=self.catalog,
            backlog=self._backlog,
            scheduler=self.scheduler,
            moves=self._moves,
            losses=self.losses,
            options=self.options,
            log=self._log,
        )

    @property
    def accepting(self) -> bool:
        """Whether new calls are taken."""
        return self.ready and self.intake.accepting

    async def open(self) -> None:
        """Read back what memory needs, start the loops; ready afterwards."""
        await self.heartbeat.beat()
        await self.catalog.recall(self.reader)
        await self._backlog.recall(self.reader)
        await self.losses.find_orphans()
        self.background.spawn(self.scheduler.run(), "scheduler")
        self.background.spawn(self.heartbeat.run(), "heartbeat")
        self.background.spawn(self.poll.run(), "poll")
        for duty in self.sweeps.duties():
            self.background.spawn(self.sweeps.run(duty), f"sweep of {duty.name}")
        self.ready = True

    async def drain(self, timeout_s: float) -> None:
        """Take no new calls, wait until the accepted ones have their answers; session routes, reads stay open."""
        self.intake.accepting = False
        self._log.info("draining", waiting=self.feed.blocked)
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        while self.feed.blocked and loop.time() < until:
            await self.feed.changed(until - loop.time())

    async def close(self) -> None:
        """End channels, watchers, loops. What still runs goes on at its worker, for the next server."""
        self.intake.accepting = False
        self.ready = False
        self.feed.close()
        for session in list(self.catalog.sessions.values()):
            if session.channel is not None:
                session.channel.close()
        await self.background.close()
