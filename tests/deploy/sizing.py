"""Measures what a call costs PostgreSQL, what a server holds: the numbers of docs/deployment.md.

    python -m tests.deploy.sizing --calls 2000

A real server, a real worker, the scripted engine on this machine; a PostgreSQL of the development wheel with the settings that
it comes with (every commit is on the disk), or the one of a `--url`, which nobody else may use meanwhile.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import asyncpg

from tests.journeys.fleet import POOL, Fleet
from tests.journeys.site import chat
from tests.store.side_desk import ask
from tests.store.throwaway import Throwaway

SLOTS: Final = 64
IDLE_S: Final = 10
FLUSH_S: Final = 12
"""By then every connection of the server has told PostgreSQL's statistics what it did, the idle ones after 10 s."""
ASKED: Final = "say 40 words as answer " + "please " * 100
"""About a kilobyte, as its answer."""

COUNTERS: Final = """
SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint,
       (SELECT wal_fpi FROM pg_stat_wal),
       (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
       sum(n_tup_ins)::bigint, sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint, sum(n_tup_del)::bigint
FROM pg_stat_user_tables
"""


class Counters(NamedTuple):
    """What PostgreSQL counted so far, or between two looks."""

    wal: float
    """Bytes."""
    images: float
    """Whole pages in them, for each page that changes first after a checkpoint."""
    commits: float
    inserted: float
    updated: float
    in_place: float
    """Updates that touched no index (HOT)."""
    deleted: float

    @property
    def dead(self) -> float:
        """Rows that vacuum has to remove."""
        return self.updated + self.deleted

    def since(self, before: "Counters") -> "Counters":
        """What came since an earlier look."""
        return Counters(*(now - then for now, then in zip(self, before, strict=True)))

    def shared(self, parts: float) -> "Counters":
        """One of so many equal parts."""
        return Counters(*(count / parts for count in self))


class Kind(NamedTuple):
    """One way to call, a number of times at once."""

    name: str
    at_once: int
    stream: bool = False


KINDS: Final = (
    Kind("whole, one at a time", 1),
    Kind("whole, 16 at once", 16),
    Kind("whole, 64 at once", 64),
    Kind("streamed, 41 chunks, 64 at once", 64, stream=True),
)


class Bench(Fleet):
    """A server with its worker, as they come."""

    async def open(self, url: str) -> None:
        """All of it runs when this returns."""
        await self.start_engine()
        self.server = await self._start("server", "-m", "inferpool", "serve", "--port", "0", "--database-url", url)
        self.server_url = (await self.server.says("server ready at ")).rpartition(" ")[2]
        await self.start_worker(slots=SLOTS)

    def resident(self) -> int:
        """Bytes of the server's memory."""
        assert self.server is not None
        pages = Path(f"/proc/{self.server.pid}/statm").read_text().split()[1]
        return int(pages) * 4096


@asynccontextmanager
async def opened_bench(url: str) -> AsyncIterator[Bench]:
    """A bench in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            await bench.open(url)
            yield bench
        finally:
            await bench.close()


async def looked(watching: asyncpg.Connection, rest_s: float) -> Counters:
    """The counters, once all that happened is in them."""
    await watching.execute(f"SELECT pg_sleep({rest_s})")
    row = await watching.fetchrow(COUNTERS)
    assert row is not None
    return Counters(*map(float, row))


async def call(bench: Bench, http: aiohttp.ClientSession, kind: Kind, places: list[int]) -> None:
    """Call one after another until none is left."""
    headers = {"Content-Type": "application/json"}
    while places:
        body = chat(f"{ASKED} {places.pop()}", model=POOL, stream=kind.stream)
        async with http.post(f"{bench.server_url}/v1/chat/completions", data=body, headers=headers) as reply:
            await reply.read()
            assert reply.status == 200


async def second_of(watching: asyncpg.Connection) -> Counters:
    """What a second in which nobody calls makes PostgreSQL do."""
    before = await looked(watching, FLUSH_S)
    return (await looked(watching, IDLE_S)).since(before).shared(IDLE_S)


async def measured(watching: asyncpg.Connection, resting: Counters, calling: Awaitable[object]) -> Counters:
    """What the calls made PostgreSQL do, without what it would have done anyway."""
    loop = asyncio.get_running_loop()
    before, began = await looked(watching, 0), loop.time()
    await calling
    after, took_s = await looked(watching, FLUSH_S), loop.time() - began
    return after.since(before).since(resting.shared(1 / took_s))


def row(name: str, found: Counters) -> str:
    """A line of the table."""
    kept = found.in_place / found.updated if found.updated else 1.0
    return (
        f"| {name} | {found.wal:,.0f} | {found.images:.2f} | {found.commits:.2f} "
        f"| {found.inserted:.2f} | {found.dead:.2f} | {kept:.0%} |"
    )


async def run(url: str, calls: int, write: "Printer") -> None:
    """Measure each kind of calls, a server that does nothing, what it holds."""
    async with AsyncExitStack() as opened:
        watching = await asyncpg.connect(url)
        opened.push_async_callback(watching.close)
        http = await opened.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        bench = await opened.enter_async_context(opened_bench(url))
        version = watching.get_server_version().major
        write(f"PostgreSQL {version}, {calls} calls of each kind, about 1 KB there, 1 KB back\n")
        write("| a call | WAL bytes | page images | commits | rows inserted | dead rows | of the updates in place |")
        write("|---|---|---|---|---|---|---|")
        resting, idle = await second_of(watching), bench.resident()
        for kind in KINDS:
            found = await measured(watching, resting, call_all(bench, http, kind, calls))
            write(row(kind.name, found.shared(calls)))
        write(row("a second without calls", resting))
        kept = await watching.fetchval("SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_stat_user_tables")
        connections = await watching.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        write(f"\nkept on the disk: {kept / (calls * len(KINDS)):,.0f} bytes a call, indexes and free space included")
        write(f"connections of the server: {connections}")
        write(f"memory of the server: {idle / 2**20:.0f} MB idle, {bench.resident() / 2**20:.0f} MB afterwards")


async def call_all(bench: Bench, http: aiohttp.ClientSession, kind: Kind, calls: int) -> None:
    """So many calls of that kind."""
    places = list(range(calls))
    await asyncio.gather(*[call(bench, http, kind, places) for _ in range(kind.at_once)])


class Printer:
    """Prints lines."""

    def __call__(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run on the PostgreSQL that is named, else on one that is thrown away."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=2000, help="of each kind")
    options.add_argument("--url", help="an empty database")
    told = options.parse_args(arguments)
    if told.url is not None:
        asyncio.run(run(told.url, told.calls, Printer()))
        return
    thrown = Throwaway(settings=())
    try:
        ask(thrown.url(), "CREATE DATABASE sizing")
        asyncio.run(run(thrown.url("sizing"), told.calls, Printer()))
    finally:
        thrown.throw_away()


if __name__ == "__main__":
    main()
