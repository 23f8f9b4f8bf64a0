"""Several servers' dispatch over one PostgreSQL database, with a way to lose what they tell each other."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio.lowlevel

from inferpool.core.ids import ServerId
from inferpool.dispatch.options import DispatchOptions
from inferpool.dispatch.service import Dispatch, Parts
from inferpool.store.postgres import PostgresOptions, open_postgres
from inferpool.store.servers_protocol import Note, Signals
from tests.dispatch.rig import OPTIONS, PATIENCE_S, IdMaker, Rig, ScriptedWorker, SilentLog
from tests.store.side_desk import SideDesk, emptied_desk
from tests.store.stores import SettableClock


class LossySignals:
    """Real signals, the notes of which are lost while it is `deaf` or `mute`."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self.deaf = self.mute = False
        self.sent: list[Note] = []
        self.linked = asyncio.Event()

    async def send(self, notes: Sequence[Note]) -> None:
        """Send, or lose."""
        self.sent += notes
        if not self.mute:
            await self._signals.send(notes)

    async def listen(self, channels: Sequence[str], hear: Callable[[str], None], linked: Callable[[], None]) -> None:
        """Listen; what comes may be lost."""
        await self._signals.listen(channels, lambda text: None if self.deaf else hear(text), lambda: self._link(linked))

    def _link(self, linked: Callable[[], None]) -> None:
        linked()
        self.linked.set()


class Server(Rig):
    """One of several servers."""

    def __init__(self, dispatch: Dispatch, log: SilentLog, signals: LossySignals) -> None:
        super().__init__(dispatch, SettableClock(), log)
        self.signals = signals

    async def tick(self) -> None:
        """One second passes, as far as its poll can tell."""
        await self.dispatch.poll.tick()


class Site:
    """The servers with their database."""

    def __init__(self, servers: list[Server], desk: SideDesk) -> None:
        self.servers = servers
        self.desk = desk

    def lose_everything(self) -> None:
        """From now on no server hears another."""
        for server in self.servers:
            server.signals.deaf = server.signals.mute = True


@asynccontextmanager
async def opened_servers(count: int = 2, options: DispatchOptions = OPTIONS) -> AsyncIterator[Site]:
    """That many servers which know of each other; their loops stand still."""
    desk = emptied_desk()
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(_opened(desk, number, options)) for number in range(count)]
        async with asyncio.timeout(PATIENCE_S):
            for server in servers:
                await server.signals.linked.wait()
        for server in servers:
            await server.tick()
        yield Site(servers, desk)


@asynccontextmanager
async def _opened(desk: SideDesk, number: int, options: DispatchOptions) -> AsyncIterator[Server]:
    new_id = IdMaker(1 + number * 1_000_000)
    pair = await open_postgres(desk.url, writer_id=new_id(), options=PostgresOptions(readers=1))
    log, signals = SilentLog(), LossySignals(pair.signals)
    parts = Parts(
        clock=SettableClock(),
        new_id=new_id,
        new_secret=lambda: "a made secret of the server",
        jitter=random.Random(number),
        log=log,
        signals=signals,
    )
    dispatch = Dispatch(pair.store, pair.reader, options, parts, ServerId(new_id()))
    try:
        await dispatch.open()
        yield Server(dispatch, log, signals)
    finally:
        await dispatch.close()
        await pair.close()


async def until(condition: Callable[[], object]) -> None:
    """Let everything run until this holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await anyio.lowlevel.checkpoint()


def speak_at(worker: ScriptedWorker, server: Rig) -> None:
    """From now on the worker's requests reach that server."""
    worker._desk = server.dispatch.desk
