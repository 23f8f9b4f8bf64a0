"""Journeys in which a commit arrives while its answer does not: whether it counts is asked of the database."""

import asyncio
import signal
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import aiohttp
import anyio.lowlevel
import pytest

from tests.engines.directives import answer_to
from tests.journeys.cable import Cable, cable_to
from tests.journeys.cluster import Cluster, Member
from tests.journeys.ledger import text_of
from tests.store.side_desk import new_database
from tests.store.throwaway import server

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

_numbers = count(1)
_PORT = 5432
"""Part of the name of PostgreSQL's socket."""


@pytest.fixture
async def wired(anyio_backend: str, tmp_path: Path) -> AsyncIterator[tuple[Cluster, Cable]]:
    """A database with the cable that leads to it."""
    url = new_database(f"wired_{next(_numbers)}")
    async with aiohttp.ClientSession() as http, cable_to(f"{server().folder}/.s.PGSQL.{_PORT}") as (cable, near_end):
        cluster = Cluster(tmp_path, http, url)
        database = url.partition("?")[0].rpartition("/")[2]
        cluster.told_url = f"postgresql://postgres@{near_end.removeprefix('http://')}/{database}"
        try:
            yield cluster, cable
        finally:
            await cluster.close()


async def commit_without_answer(member: Member, cable: Cable, seen: str) -> None:
    """Let the server go on from before its commit; cut its connections once the rows show `seen`."""
    assert member.server is not None
    await member.server.stops()
    assert member.rows(seen) == [(0,)]
    cable.lose_answers()
    member.server.signal(signal.SIGCONT)
    while member.rows(seen) == [(0,)]:
        await anyio.lowlevel.checkpoint()  # the cable is this process's own
    cable.cut()
    cable.mend()


async def test_a_task_whose_commit_was_not_answered_stands_once(wired: tuple[Cluster, Cable]) -> None:
    cluster, cable = wired
    [member] = await cluster.start(1, {"failpoint": "enqueue.before_commit"})
    await member.start_worker()
    call = asyncio.create_task(member.call("say 3 words"))
    await commit_without_answer(member, cable, "SELECT count(*) FROM tasks")
    status, body = await call
    assert (status, text_of(body)) == (200, answer_to("say 3 words"))
    assert cluster.rows("SELECT status, attempt, tries FROM tasks") == [("completed", 1, 0)]
    assert len(await member.engine_calls()) == 1
    await cluster.conclude()


async def test_a_result_whose_commit_was_not_answered_counts_once(wired: tuple[Cluster, Cable]) -> None:
    cluster, cable = wired
    [member] = await cluster.start(1, {"failpoint": "uplink.before_commit"})
    await member.start_worker()
    call = asyncio.create_task(member.call("say 3 words"))
    await commit_without_answer(member, cable, "SELECT count(*) FROM attempts")
    status, body = await call
    assert (status, text_of(body)) == (200, answer_to("say 3 words"))
    assert cluster.rows("SELECT attempt, ending FROM attempts") == [(1, "completed")]
    assert len(await member.engine_calls()) == 1
    await cluster.conclude()
