"""One connection to PostgreSQL, kept: made when it is first wanted, made again after it was lost."""

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Final

from inferpool.core.errors import StoreUnavailable
from inferpool.store.connection import TransactionLost
from inferpool.store.postgres_driver import Address, Driver, connect

_PAUSES: Final = (0.05, 0.1, 0.2, 0.5)
"""Seconds before the first attempts to connect again."""
_LAST_PAUSE: Final = 1.0
"""Seconds before each of the later ones."""


def pauses() -> Iterator[float]:
    """How long to wait before each further attempt to connect, in seconds, without end."""
    return chain(_PAUSES, repeat(_LAST_PAUSE))


class Link:
    """The connection to one database, whichever it is at the moment."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._driver: Driver | None = None
        self._away_since: float | None = None
        self._closing = asyncio.Event()

    async def driver(self) -> Driver:
        """The open connection, made anew if it was lost.

        Raises `StoreUnavailable` when none is to be had within the patience since the database went away.
        """
        if self._driver is None or self._driver.closed:
            self._driver = await self._connected()
        return self._driver

    def drop(self) -> None:
        """Close the connection at once: whoever wants it next makes a new one."""
        if self._driver is not None:
            self._driver.drop()
            self._driver = None

    def hurry(self) -> None:
        """Wait no more for a database that is away: the store closes."""
        self._closing.set()

    @property
    def closing(self) -> bool:
        """Whether nobody waits any more for a database that is away."""
        return self._closing.is_set()

    async def pause(self, seconds: float) -> None:
        """Wait that long, less when the store closes."""
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return

    async def _connected(self) -> Driver:
        now = asyncio.get_running_loop().time
        since = now() if self._away_since is None else self._away_since
        waits = pauses()
        while True:
            try:
                driver = await connect(self.address)
            except TransactionLost as fault:
                self._away_since = since
                pause = next(waits)
                if self.closing or now() + pause > since + self.address.timeouts.patience_s:
                    raise StoreUnavailable(f"the database at {self.address.place} is away: {fault}") from fault
                await self.pause(pause)
            else:
                self._away_since = None
                return driver
