"""What PostgreSQL does not take: a locked row, a value without a place, a statement that is none."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from inferpool.core.errors import InvalidRequest, StoreUnavailable
from inferpool.core.ids import ServerId
from inferpool.core.lifecycle import Status
from inferpool.store.connection import Connection
from inferpool.store.operations import Single
from inferpool.store.postgres_driver import Timeouts
from tests.store.builders import new_task
from tests.store.shaky import (
    PATIENT,
    opened,
    opened_at,
)
from tests.store.side_desk import SideDesk, emptied_desk

pytestmark = pytest.mark.anyio


@pytest.fixture
def desk() -> SideDesk:
    """An emptied database."""
    return emptied_desk(own=True)


BRIEF_LOCK = Timeouts(lock_s=0.1)
BRIEF_STATEMENT = Timeouts(statement_s=1.0)


@pytest.mark.parametrize(("timeouts", "word"), [(BRIEF_LOCK, "lock timeout"), (BRIEF_STATEMENT, "statement timeout")])
async def test_a_row_that_somebody_locks_holds_nobody_up_for_ever(
    desk: SideDesk, timeouts: Timeouts, word: str
) -> None:
    async with opened(desk, timeouts) as rig:
        await rig.store.enqueue(task := new_task(), None)
        desk.script("BEGIN")
        desk.sql("SELECT 1 FROM tasks FOR UPDATE")
        with pytest.raises(StoreUnavailable, match=word):
            await rig.store.cancel(task.id)
        desk.script("ROLLBACK")
        assert (await rig.store.cancel(task.id)).status is Status.CANCELLED


async def test_a_table_that_somebody_locks_holds_no_reader_up_for_ever(desk: SideDesk) -> None:
    async with opened(desk, BRIEF_LOCK) as rig:
        desk.script("BEGIN; LOCK TABLE lanes")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await rig.reader.clocks()
        desk.script("ROLLBACK")
        assert await rig.reader.clocks() == []


async def test_a_value_without_a_place_in_its_column_is_refused_alone(desk: SideDesk) -> None:
    async with opened(desk) as rig:
        bad = [new_task(owner="\ud800"), new_task(owner="a\0b"), new_task(expires_in=2**70), new_task(lane="x" * 9_000)]
        good = [new_task() for _ in range(5)]
        made = await asyncio.gather(*(rig.store.enqueue(task, None) for task in (*bad, *good)), return_exceptions=True)
        assert [type(one) for one in made[:3]] == [InvalidRequest] * 3
        assert all(not isinstance(one, BaseException) for one in made[4:])
        assert all(str(task.owner) not in str(told) for task, told in zip(bad[:2], made, strict=False))


async def test_a_refusal_never_quotes_a_row(desk: SideDesk) -> None:
    async with opened(desk) as rig:
        with pytest.raises(InvalidRequest) as refused:
            await rig.store.enqueue(new_task(max_tries=0, request=b"a secret", metadata={"secret": "thing"}), None)
        assert "secret" not in str(refused.value)
        assert "tasks_max_tries_check" in str(refused.value)


async def hands_in_too_much(connection: Connection) -> None:
    await connection.write("now", [(1, 2, 3)])


async def says_nonsense(connection: Connection) -> None:
    await connection.script("this is no statement")


@pytest.mark.parametrize("act", [hands_in_too_much, says_nonsense])
async def test_a_defect_is_a_defect_not_a_bad_row(
    desk: SideDesk, act: Callable[[Connection], Coroutine[None, None, None]]
) -> None:
    async with opened_at(desk.url, PATIENT) as pair:
        good = pair.store.enqueue(new_task(), None)
        bad = pair._writer.submit(Single(act, alone=False))
        with pytest.raises(Exception, match=r"expects 0 arguments|syntax error"):
            await bad
        assert (await good).created


async def test_a_database_that_lost_its_schema_cannot_work(desk: SideDesk) -> None:
    async with opened(desk) as rig:
        desk.script("ALTER TABLE lanes RENAME TO elsewhere")
        try:
            with pytest.raises(StoreUnavailable, match="lanes"):
                await rig.reader.clocks()
        finally:
            desk.script("ALTER TABLE elsewhere RENAME TO lanes")
        assert await rig.reader.clocks() == []


async def test_a_heartbeat_is_written_by_the_databases_clock(desk: SideDesk) -> None:
    async with opened(desk) as rig:
        await rig.store.beat(ServerId("here"), [])
        assert rig.sql("SELECT seen_at FROM servers") == [(rig.now(),)]
