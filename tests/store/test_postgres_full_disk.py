"""A PostgreSQL whose disk is full: calls are refused or wait, nothing is corrupted, all goes on once there is room."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial

import asyncpg
import pytest

from inferpool.core.errors import StoreUnavailable
from inferpool.core.ids import TaskId
from inferpool.store.invariants import check
from inferpool.store.postgres import PostgresPair, connect_postgres_reader
from tests.store.builders import new_task
from tests.store.crowded import MB, Crowded, ending, limit, volume
from tests.store.shaky import IMPATIENT, in_thread, opened_at
from tests.store.side_desk import ask

pytestmark = pytest.mark.anyio

DISKS = {"a volume": volume, "a limit": limit}
ENOUGH = 40
"""Tasks of 1 MB that fit nowhere."""


@pytest.fixture(scope="module", params=sorted(DISKS))
def crowded(request: pytest.FixtureRequest) -> Iterator[Crowded]:
    """A server on a disk that can be filled."""
    with DISKS[request.param]() as one:
        yield one


async def enqueue(pair: PostgresPair) -> TaskId:
    """A task that takes room."""
    return (await pair.store.enqueue(new_task(request=os.urandom(MB)), None)).task_id


async def crowd(pair: PostgresPair, kept: list[TaskId]) -> None:
    """More tasks than there is room for; those that are kept are added to these."""
    for _ in range(ENOUGH):
        kept += [await enqueue(pair)]


async def sound(url: str) -> bool:
    """Whether the doctor has nothing to say."""
    with closing(connect_postgres_reader(url)) as doctor:
        return await check(doctor) == []


async def test_while_the_disk_is_full_calls_are_refused_until_there_is_room(crowded: Crowded) -> None:
    url = crowded.server.url()
    async with opened_at(url, IMPATIENT) as pair:
        kept, refused = [await enqueue(pair)], new_task(request=os.urandom(MB))
        ask(url, "SELECT pg_switch_wal()")
        kept.append(await enqueue(pair))
        crowded.fill("data")
        try:
            with pytest.raises(StoreUnavailable, match="cannot work: could not extend file"):
                await crowd(pair, kept)
            with pytest.raises(StoreUnavailable):
                await pair.store.enqueue(refused, None)
            assert {one.task_id for one in await pair.reader.pending(None, 1_000)} >= set(kept)
            assert await sound(url)
        finally:
            crowded.make_room()
        assert await pair.reader.row(refused.id) is None
        assert (await pair.store.enqueue(refused, None)).created
        kept.append(await enqueue(pair))
        assert {one.task_id for one in await pair.reader.pending(None, 1_000)} >= {*kept, refused.id}
        assert await sound(url)


async def test_what_waits_while_the_databases_own_log_has_no_room_is_done_afterwards_once(crowded: Crowded) -> None:
    url = crowded.server.url()
    async with opened_at(url, IMPATIENT) as pair:
        kept = await enqueue(pair)
        crowded.fill("log")
        waiting = []
        with ending(crowded.pid()) as has_ended:
            while not has_ended():
                waiting.append(asyncio.ensure_future(enqueue(pair)))
                with suppress(asyncpg.PostgresError, OSError):
                    await in_thread(partial(switch_log, url))
        with pytest.raises(StoreUnavailable, match="is away"):
            await pair.reader.clocks()
        crowded.make_room()
        crowded.server.start()
        made = await asyncio.gather(*waiting, return_exceptions=True)
        assert [one for one in made if isinstance(one, BaseException) and not isinstance(one, StoreUnavailable)] == []
        there = {one.task_id for one in await pair.reader.pending(None, 1_000)}
        assert there >= {kept, *(one for one in made if isinstance(one, str))}
        assert await enqueue(pair)
        assert await sound(url)


def switch_log(url: str) -> None:
    ask(url, "SELECT pg_switch_wal()")
