"""Looks for engines at the usual local addresses when the user named none."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from inferpool.client.transport import Transport, TransportError
from inferpool.worker.engine import Engine, EngineView
from inferpool.worker.log import Log
from inferpool.worker.lookout import Lookout
from inferpool.worker.makes import KeyWanted, Make
from inferpool.worker.options import WorkerOptions

SETTLED_S: Final = 60.0
"""Between two looks at addresses without an engine once one was found: something else may listen there."""


class EngineSource(NamedTuple):
    """Makes engines of one transport; the key is for engines alone."""

    transport: Transport
    key: str | None

    def keyed(self, url: str) -> Engine:
        """An engine that is known to be one."""
        return Engine(self.transport, url, self.key)

    def anonymous(self, url: str) -> Engine:
        """Whatever listens at an address that nobody named: it is not shown the key."""
        return Engine(self.transport, url, None)


class Found(NamedTuple):
    """An engine that answered, with what it told."""

    engine: Engine
    view: EngineView


class Locked(NamedTuple):
    """Something that answers nobody without a key, or not by the one that is set."""

    url: str


async def find_engines(source: EngineSource, urls: Sequence[str], timeout_s: float) -> list[Found | Locked]:
    """The engines at these addresses that list models, in the order of the addresses; a server of ours is none."""
    looks = await asyncio.gather(*[_look(source, url, timeout_s) for url in urls])
    return [found for found in looks if found is not None]


async def _look(source: EngineSource, url: str, timeout_s: float) -> Found | Locked | None:
    try:
        view = await _first_view(source, url, timeout_s)
    except KeyWanted:
        return Locked(url)
    except TransportError:
        return None
    return None if view.models is None or view.make is Make.INFERPOOL else Found(source.keyed(url), view)


async def _first_view(source: EngineSource, url: str, timeout_s: float) -> EngineView:
    """What it tells without a key, or with it if it asks for one."""
    try:
        return await source.anonymous(url).look(timeout_s)
    except KeyWanted:
        return await source.keyed(url).look(timeout_s)


class Discovery:
    """Takes up each engine that appears at a usual address; what it finds or misses is said once."""

    def __init__(
        self, options: WorkerOptions, source: EngineSource, add: Callable[[Engine], Lookout], log: Log
    ) -> None:
        """`add` takes an engine up; what it returns is looked at from then on."""
        self._options = options
        self._source = source
        self._add = add
        self._log = log
        self._left = [source.anonymous(url).root for url in options.local_engines]
        self._watches: list[asyncio.Future[None]] = []
        self._missed = False
        self._locked: set[str] = set()

    async def run(self) -> None:
        """Look for ever, watch what was found."""
        try:
            while True:
                await asyncio.sleep(SETTLED_S if self._watches else self._options.probe_s)
                await self.look()
        finally:
            for watch in self._watches:
                watch.cancel()
            await asyncio.gather(*self._watches, return_exceptions=True)

    async def look(self) -> None:
        """Look once at every address where no engine was found yet."""
        for found in await find_engines(self._source, self._left, self._options.probe_timeout_s):
            if isinstance(found, Found):
                await self._take_up(found)
            elif found.url not in self._locked:
                self._locked.add(found.url)
                self._log.warning("what answers there wants a key: set INFERPOOL_ENGINE_API_KEY", engine=found.url)
        if not (self._watches or self._missed or self._locked):
            self._missed = True
            self._log.info(
                "no engine was named, none answers at the usual addresses: waiting for one; name yours by --engine",
                looked_at=", ".join(self._left),
            )

    async def _take_up(self, found: Found) -> None:
        engine = found.engine
        self._left.remove(engine.root)
        self._log.info("found an engine, publishing its models", engine=engine.root, make=found.view.make.value)
        lookout = self._add(engine)
        self._watches.append(asyncio.ensure_future(lookout.watch()))
        await lookout.look()
