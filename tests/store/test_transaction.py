"""A transaction: what a fault leaves behind, what a failpoint sees."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import msgspec
import pytest

from inferpool.core import failpoints
from inferpool.core.errors import Conflict, StoreUnavailable
from inferpool.store.connection import Connection
from inferpool.store.operations import Single
from inferpool.store.protocol import Completion
from tests.store.benches import bench, registered, spoken
from tests.store.builders import ANSWER, new_task

pytestmark = pytest.mark.anyio


async def divides_by_zero(_: Connection) -> None:
    raise ZeroDivisionError


async def hands_in_too_much(connection: Connection) -> None:
    await connection.write("now", [(1, 2, 3)])


async def test_a_full_disk_refuses_and_recovers_by_itself(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await at.store.enqueue(first := new_task(), None)
        at.rows("PRAGMA max_page_count = 1")
        held = [at.store.enqueue(new_task(request=bytes(100_000)), None) for _ in range(3)]
        refusals = await asyncio.gather(*held, return_exceptions=True)
        assert [type(refusal) for refusal in refusals] == [StoreUnavailable] * 3
        assert at.rows("SELECT id FROM tasks") == [(first.id,)]
        at.rows("PRAGMA max_page_count = 1000000")
        assert (await at.store.enqueue(new_task(), None)).created


async def test_a_file_that_turned_read_only_refuses_and_recovers(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        at.rows("PRAGMA query_only = ON")
        with pytest.raises(StoreUnavailable, match="readonly"):
            await at.store.enqueue(new_task(), None)
        at.rows("PRAGMA query_only = OFF")
        assert (await at.store.enqueue(new_task(), None)).created


async def test_a_transaction_that_could_not_be_undone_is_undone_by_the_next(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        at.rows("BEGIN")
        assert (await at.store.enqueue(new_task(), None)).created


async def test_a_defect_in_one_operation_stops_nothing_else(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        good = at.store.enqueue(new_task(), None)
        bad = at.writer.submit(Single(divides_by_zero, alone=False))
        with pytest.raises(ZeroDivisionError):
            await bad
        assert (await good).created


async def test_an_unknown_statement_is_a_defect_not_a_bad_row(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        with pytest.raises(sqlite3.ProgrammingError):
            await at.writer.submit(Single(hands_in_too_much, alone=True))


async def test_a_refusal_half_way_leaves_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await at.store.enqueue(task := new_task(), None)
        again = msgspec.structs.replace(new_task(key="k"), id=task.id)
        with pytest.raises(Conflict):
            await at.store.enqueue(again, None)
        assert at.rows("SELECT count(*) FROM idempotency_keys") == [(0,)]


@pytest.fixture
def reached() -> Iterator[list[str]]:
    names: list[str] = []
    for name in ("enqueue.before_commit", "enqueue.after_commit", "uplink.before_commit", "uplink.after_commit"):
        failpoints.arm(name, partial(names.append, name))
    yield names
    failpoints.disarm()


async def test_failpoints_stand_around_the_commit_of_what_they_name(tmp_path: Path, reached: list[str]) -> None:
    async with bench(tmp_path) as at:
        slot = await registered(at.store)
        assert reached == []
        await at.store.enqueue(task := new_task(), slot)
        assert reached == ["enqueue.before_commit", "enqueue.after_commit"]
        await at.store.complete(Completion(spoken=spoken(task.id), answer=ANSWER))
        assert reached[2:] == ["uplink.before_commit", "uplink.after_commit"]


async def test_nothing_is_durable_at_the_failpoint_before_the_commit(tmp_path: Path) -> None:
    seen: list[int] = []

    async with bench(tmp_path) as at, opened_reader(tmp_path) as other:
        failpoints.arm("enqueue.before_commit", lambda: seen.append(count(other)))
        failpoints.arm("enqueue.after_commit", lambda: seen.append(count(other)))
        try:
            future = at.store.enqueue(new_task(), None)
            await future
        finally:
            failpoints.disarm()
        assert seen == [0, 1]


@asynccontextmanager
async def opened_reader(folder: Path) -> AsyncIterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        yield connection


def count(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("SELECT count(*) FROM tasks").fetchone()[0]
    return found
