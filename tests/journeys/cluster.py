"""Several servers of one PostgreSQL database on loopback, each with what a journey asks of it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from inferpool.store.invariants import check
from inferpool.store.postgres import connect_postgres_reader
from tests.journeys.ledger import ROWS, Ledger, Row, rows_of
from tests.journeys.processes import PATIENCE_S, Program
from tests.journeys.site import Site
from tests.store.side_desk import ask, new_database

HINTED: Final = {"poll_s": "20"}
"""Settings under which a poll comes too late for a journey: what is seen was told by a hint."""

_numbers: Final = count(1)

on_both: Final = pytest.mark.parametrize("site", ["sqlite", "postgres"], indirect=True)
"""Marks journeys of one server that are made on an SQLite file as on PostgreSQL."""


class Member(Site):
    """One server of several, as its callers see it."""

    tries_of_a_restart = frozenset({0, 1})
    """Until it has been silent for `dead_s` nobody knows that a server is dead, so that its sessions' losses count."""

    def __init__(self, cluster: "Cluster") -> None:
        super().__init__(cluster.folder, cluster.http)
        self.ledger = cluster.ledger
        self._cluster = cluster

    @property
    def database_url(self) -> str:
        """See `Fleet`."""
        return self._cluster.told_url

    def rows(self, sql: str, *parameters: str | int) -> list[tuple[object, ...]]:
        """See `Site`."""
        return self._cluster.rows(sql, *parameters)

    def read_rows(self) -> dict[str, Row]:
        """See `Site`."""
        return self._cluster.read_rows()

    async def check_laws(self) -> None:
        """See `Site`."""
        await self._cluster.check_laws()

    async def stop(self) -> None:
        """SIGTERM to the server alone; it must end in order."""
        assert self.server is not None
        self.server.signal(signal.SIGTERM)
        assert await self.server.ended() == 0, self.server.lines[-5:]


class Cluster:
    """The servers, the engine, the ledger of one journey."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession, url: str) -> None:
        self.url = self.told_url = url
        """Where the database is; what servers are told is that, unless something stands in between."""
        self.folder = folder
        self.http = http
        self.members: list[Member] = []
        self.ledger = Ledger()
        self._first = Member(self)

    async def start(self, servers: int = 2, settings: Mapping[str, str] = {}) -> list[Member]:
        """The engine, then so many servers, which know of each other when this returns."""
        await self._first.start_engine()
        for _ in range(servers):
            await self.add(settings)
        return self.members

    async def add(self, settings: Mapping[str, str] = {}) -> Member:
        """One server more."""
        member = Member(self) if self.members else self._first
        member.engine_url = self._first.engine_url
        self.members.append(member)
        await member.start_server(**settings)
        return member

    async def known(self, *members: Member, model: str = "words") -> None:
        """Until the model is published at each of these servers (all, if none is named)."""
        async with asyncio.timeout(PATIENCE_S):
            for member in members or self.members:
                while model not in await models_at(member):
                    pass

    # ---- the store -----------------------------------------------------------------------------------------------

    def rows(self, sql: str, *parameters: str | int) -> list[tuple[object, ...]]:
        """What one statement gives; its parameters are written as in SQLite."""
        return list(ask(self.url, sql, *parameters))

    def read_rows(self) -> dict[str, Row]:
        """Every task with its stream."""
        return rows_of(self.rows(ROWS))

    async def check_laws(self) -> None:
        """The invariant checker finds nothing."""
        with closing(connect_postgres_reader(self.url)) as connection:
            assert await check(connection) == []

    # ---- the end -------------------------------------------------------------------------------------------------

    async def conclude(self) -> None:
        """All is over: the ledger agrees with the store, the checker is content, whoever still runs leaves in order."""
        self.ledger.compare(self.read_rows())
        await self.check_laws()
        await self.leave()
        await self.check_laws()
        assert [path.name for path in self.folder.rglob("*.result")] == [], "answers left in an outbox"

    async def leave(self) -> None:
        """SIGTERM to whoever still runs, workers first: each must end in order."""
        servers = [member.server for member in self.members]
        running = [one for member in self.members for one in member.programs if one.code is None]
        for program in sorted(running, key=lambda one: one in servers):
            if program is not self._first.engine:
                await _ends_in_order(program)

    async def close(self) -> None:
        """End everything that still runs."""
        for member in [*self.members[1:], self._first]:
            await member.close()


async def models_at(member: Member) -> list[str]:
    """What `/v1/models` lists there."""
    status, answer = await member.ask("GET", "/v1/models")
    assert status == 200, answer
    data = answer["data"]
    assert isinstance(data, list)
    return [str(one["id"]) for one in data]


async def _ends_in_order(program: Program) -> None:
    program.signal(signal.SIGTERM)
    assert await program.ended() == 0, program.lines[-5:]


@asynccontextmanager
async def opened_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """An empty database without servers yet; whatever a journey starts is ended by its id."""
    url = new_database(f"journey_{next(_numbers)}", own=False)
    async with aiohttp.ClientSession() as http:
        cluster = Cluster(folder, http, url)
        try:
            yield cluster
        finally:
            await cluster.close()
