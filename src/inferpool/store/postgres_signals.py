"""Hints between the servers of one PostgreSQL database, by its LISTEN / NOTIFY.

Two connections of their own, each made when it is first needed: one that sends, one that listens. Nothing here is retried but
the listening: a hint that comes late is worth nothing, the row is the truth (design section 7).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from inferpool.core.errors import StoreUnavailable
from inferpool.store.connection import RowRefused, TransactionLost
from inferpool.store.postgres_driver import Address, Driver, Timeouts, connect
from inferpool.store.postgres_faults import translated
from inferpool.store.postgres_link import Link, pauses
from inferpool.store.servers_protocol import Note

NOTES: Final = 50
"""How many one statement sends: few enough that nobody's commit waits long for the lock that it holds."""
HASTY: Final = Timeouts(connect_s=3.0, patience_s=0.0, statement_s=2.0, lock_s=2.0, margin_s=1.0)
"""Nobody waits longer for a hint to leave."""


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection that fell silent is noticed, in seconds: it must hear what it says to itself."""

    every_s: float = 5.0
    answer_s: float = 3.0


class PostgresSignals:
    """Sends notes, hears them. A channel has at most 63 bytes; of equal notes in one `send` one may arrive for all."""

    def __init__(self, address: Address, pulse: Pulse | None = None) -> None:
        self._address = address
        self._pulse = pulse or Pulse()
        self._link = Link(address)
        self._sending = asyncio.Lock()
        self._heard_on: set[Driver] = set()

    async def send(self, notes: Sequence[Note]) -> None:
        """See the port. It is tried once, without patience."""
        try:
            async with self._sending:
                await self._tell(notes)
        except (RowRefused, TransactionLost) as fault:
            raise StoreUnavailable(f"notes were lost: {fault}") from fault

    async def listen(self, channels: Sequence[str], hear: Callable[[str], None], linked: Callable[[], None]) -> None:
        """See the port; no `hear` comes before `linked`, none after the end. Ends when this is closed, too.

        A database that is away, or refuses, is asked again without end, each second at last; `send` raises what it says.
        """
        waits = pauses()
        while not self._link.closing:
            if await self._attend(channels, hear, linked):
                waits = pauses()
            await self._link.pause(next(waits))

    def close(self) -> None:
        """End the connections at once, whatever they do."""
        self._link.hurry()
        self._link.drop()
        for driver in self._heard_on:
            driver.drop()

    async def _tell(self, notes: Sequence[Note]) -> None:
        driver = await self._link.driver()
        try:
            self._check_open()
            for start in range(0, len(notes), NOTES):
                with translated():
                    await driver.run("notify", [(note.channel, note.text) for note in notes[start : start + NOTES]])
        except BaseException:  # even of a cancelled statement nobody knows how far it came
            self._link.drop()
            raise

    async def _attend(self, channels: Sequence[str], hear: Callable[[str], None], linked: Callable[[], None]) -> bool:
        """Listen on one connection until it ends; tells whether it ever stood the test."""
        stood = False
        with contextlib.suppress(RowRefused, TransactionLost, StoreUnavailable):
            async with self._ear(hear) as ear:
                await ear.open(channels)
                linked()
                while await ear.echoes(self._pulse):
                    stood = True
        return stood

    @contextlib.asynccontextmanager
    async def _ear(self, hear: Callable[[str], None]) -> "AsyncIterator[Ear]":
        driver = await connect(self._address)
        ear = Ear(driver, hear)
        self._heard_on.add(driver)
        try:
            self._check_open()
            yield ear
        finally:
            ear.close()
            self._heard_on.discard(driver)
            driver.drop()

    def _check_open(self) -> None:
        """Raises `StoreUnavailable` when this was closed while the connection was being made."""
        if self._link.closing:
            raise StoreUnavailable("the store is closed")


class Ear:
    """What is heard on one connection."""

    def __init__(self, driver: Driver, hear: Callable[[str], None]) -> None:
        self._driver = driver
        self._hear = hear
        self._is_open = False
        self._ended = asyncio.Event()
        self._echoed = asyncio.Event()
        self._own = f"inferpool pulse {driver.process}"
        """Nobody else's: the server's processes have their numbers for themselves."""

    async def open(self, channels: Sequence[str]) -> None:
        """From now on everything is heard that is sent."""
        self._driver.when_ended(self._ended.set)
        with translated():
            for channel in channels:
                await self._driver.listen(channel, self._take)
            await self._driver.listen(self._own, self._take_own)
        self._is_open = True

    def close(self) -> None:
        """From now on nothing is heard: the driver may have something in hand still."""
        self._is_open = False

    async def echoes(self, pulse: Pulse) -> bool:
        """Wait a while, then say something, hear it; False when the connection has ended meanwhile.

        Raises `TransactionLost` when nothing comes back: the wire is cut, the server hangs, or it forgot who listens.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), pulse.every_s)
            return False
        self._echoed.clear()
        with translated():
            async with asyncio.timeout(pulse.answer_s):
                await self._driver.run("notify", [(self._own, "")])
                await self._echoed.wait()
        return True

    def _take(self, text: str) -> None:
        if self._is_open:
            self._hear(text)

    def _take_own(self, _: str) -> None:
        self._echoed.set()
