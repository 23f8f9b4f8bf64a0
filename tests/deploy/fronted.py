"""A whole set-up behind proxies: PostgreSQL, servers that ask for tokens, nginx beside haproxy before them, a worker through each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count, product
from pathlib import Path
from typing import Final

import aiohttp

from tests.deploy.proxies import KINDS, Proxy, proxy_before
from tests.journeys.fleet import POOL, QUICK, ROOT
from tests.journeys.gated import GatedSite
from tests.journeys.processes import Program
from tests.store.side_desk import new_database

SLASHED: Final = "hf.co/x/y:Q4"
"""A model of the engine whose name holds what parts a path."""
COUNTS: Final = (1, 2)
"""How many servers a proxy knows."""
COMMENT_S: Final = 0.2
"""How often a quiet stream carries a comment here."""

_NUMBERS: Final = count()
"""Names the databases."""


class FrontedSite(GatedSite):
    """`server_url` is a proxy's: whoever calls, whoever works comes through it."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession, database_url: str) -> None:
        super().__init__(folder, http)
        self.addresses: list[str] = []
        """Where the servers themselves listen, as proxies name them."""
        self.servers: list[Program] = []
        """Their processes, in the same order."""
        self.proxies: dict[tuple[str, int], Proxy] = {}
        """By their kind with the number of servers that they know."""
        self._database_url = database_url
        self._publisher = ""
        self._gates = count()

    async def open_servers(self, servers: int) -> None:
        """The first token straight in the store, then so many servers on it, the engine, two more tokens."""
        self.admin = (await self.typed_token("admin", "ann", "--database-url", self._database_url)).token
        await asyncio.gather(self._start_two_models(), *[self._start_one() for _ in range(servers)])
        self.server_url = f"http://{self.addresses[0]}"
        self._publisher = (await self.made("publisher", "office")).token
        self.token = (await self.made("caller", "app")).token

    async def _start_one(self) -> None:
        flags = ("serve", "--port", "0", "--database-url", self._database_url)
        server = await self._start("server", "-m", "inferpool", *flags, settings={**QUICK, "comment_s": str(COMMENT_S)})
        self.addresses.append((await server.says("server ready at ")).rpartition("://")[2])
        self.servers.append(server)

    async def _start_two_models(self) -> None:
        arguments = ("-m", "tests.engines.scripted", "--port", "0", "--model", POOL, "--model", SLASHED)
        environment = {"PYTHONPATH": str(ROOT)}
        await self._answering(await Program.start("engine", *arguments, environment=environment, folder=self.folder))

    async def work_through(self, proxy: Proxy, name: str) -> Program:
        """A worker that knows the proxy's address alone; it has its channel when this returns."""
        return await self.start_worker(name, via=proxy.url, token=self._publisher, slots=8)

    def new_gate(self) -> str:
        """A name that no gate of the engine has yet."""
        return f"gate-{next(self._gates)}"

    async def seen(self, state: str) -> int:
        """How many of the engine's calls are, or have been, waiting or cancelled."""
        return len([one for one in await self.engine_calls() if one[state]])


@asynccontextmanager
async def opened_fronted_site(folder: Path) -> AsyncIterator[FrontedSite]:
    """Two servers on one database; before the first, before both, a proxy of each kind; a worker through each of the latter."""
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(aiohttp.ClientSession())
        site = FrontedSite(folder, http, new_database(f"fronted_{next(_NUMBERS)}", own=False))
        opened.push_async_callback(site.close)
        await site.open_servers(max(COUNTS))
        for kind, known in product(KINDS, COUNTS):
            own = folder / f"{kind}-{known}"
            own.mkdir()
            proxy = proxy_before(kind, site.addresses[:known], own)
            site.proxies[kind, known] = await opened.enter_async_context(proxy)
        await asyncio.gather(*[site.work_through(site.proxies[kind, max(COUNTS)], kind) for kind in KINDS])
        yield site
