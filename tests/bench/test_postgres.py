"""What the benchmark asks of its PostgreSQL."""

import os
from pathlib import Path

import asyncpg
import pytest

from bench.backends import backends_cpu_s, children, whole_cpu_s
from bench.counters import counters
from bench.ended import ended_id
from bench.fill_postgres import Filling, fill, waiting_id
from bench.machine import NotADisk
from bench.opened import opened
from bench.postgres import GIVEN, Postgres, desk, run_program, running
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from tests.store.throwaway import NEWEST, server

pytestmark = pytest.mark.anyio


@pytest.fixture
def careless() -> Postgres:
    """The tests' own server, which syncs nothing."""
    one = server(NEWEST)
    postmaster = (one.folder / "data" / "postmaster.pid").read_text().splitlines()[0]
    return Postgres(url=one.url(), postmaster=int(postmaster))


async def test_a_server_that_syncs_nothing_is_refused(careless: Postgres) -> None:
    with pytest.raises(NotADisk, match="fsync"):
        await careless.version()


async def test_nothing_is_left_on_a_server_that_is_given(careless: Postgres, tmp_path: Path) -> None:
    with running(tmp_path, {GIVEN: careless.url}) as postgres:
        async with desk(postgres.database("bench_left")) as connection:
            assert await connection.fetchval("SELECT 1") == 1
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(careless.at("bench_left"))


def test_a_server_that_is_given_is_used_as_it_is(tmp_path: Path) -> None:
    with running(tmp_path, {GIVEN: "postgresql://me@there/first?host=/run"}) as postgres:
        assert postgres.postmaster is None
        assert postgres.cpu_s() is None
        assert postgres.at("bench_call") == "postgresql://me@there/bench_call?host=/run"


async def test_the_processes_of_a_database_are_told_from_the_others(careless: Postgres) -> None:
    url = careless.database("bench_processes")
    assert careless.postmaster is not None
    assert backends_cpu_s(careless.postmaster, "bench_processes") == 0
    async with desk(url) as connection:
        assert await connection.fetchval("SELECT count(*) FROM generate_series(1, 100000)") == 100_000
        assert 0 < backends_cpu_s(careless.postmaster, "bench_processes") < 60
        assert len(children(careless.postmaster)) > 1
    assert whole_cpu_s(careless.postmaster) > 0
    careless.drop("bench_processes")


async def test_rows_that_an_update_left_dead_are_counted_with_the_commits(careless: Postgres) -> None:
    url = careless.database("bench_counted")
    async with desk(url) as connection:
        await connection.execute("CREATE TABLE one (n integer)")
        await connection.execute("INSERT INTO one VALUES (1)")
    before = await counters(url)
    async with desk(url) as connection:
        await connection.execute("UPDATE one SET n = 2")
    counted = (await counters(url)).since(before)
    assert (counted.dead, counted.dead_with_indexes) == (1, 0)
    assert counted.commits >= 1
    careless.drop("bench_counted")


async def test_a_filled_store_holds_whole_tasks(careless: Postgres) -> None:
    url = careless.database("bench_filled")
    await fill(url, Filling(waiting=3, ended=2, owners=2))
    async with opened(url) as store:
        waiting = await store.pair.reader.row(TaskId(waiting_id(2)))
        assert waiting is not None
        assert (waiting.status, waiting.owner, waiting.rank) == (Status.PENDING, "owner-0000", 0.5)
        ended = await store.pair.reader.row(TaskId(ended_id(1)))
        assert ended is not None
        assert (ended.status, ended.owner) == (Status.COMPLETED, "owner-0001")
        assert len(await store.pair.reader.attempts(ended.id)) == 1
    careless.drop("bench_filled")


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="dropdb ended with 1"):
        run_program(["dropdb", f"--maintenance-db=postgresql://nobody@/x?host={os.devnull}", "x"])
