"""PostgreSQL that goes, comes back, falls silent: what waits is done or refused, nobody waits for ever."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest

from inferpool.core import failpoints
from inferpool.core.errors import StoreUnavailable
from inferpool.core.lifecycle import Status
from inferpool.store import writer as writing
from inferpool.store.connection import TransactionLost
from inferpool.store.postgres import PostgresOptions, PostgresPair, open_postgres
from inferpool.store.postgres_connection import PostgresConnection
from inferpool.store.postgres_driver import Address, Timeouts
from inferpool.store.postgres_link import Link
from tests.store.builders import new_id, new_task
from tests.store.shaky import (
    IMPATIENT,
    PATIENT,
    in_thread,
    opened,
    opened_at,
    terminate,
    through,
    turn_of_the_loop,
)
from tests.store.side_desk import SideDesk, emptied_desk
from tests.store.throwaway import Throwaway, server
from tests.store.wires import Loss, Wire, listening

pytestmark = pytest.mark.anyio


@pytest.fixture
def desk() -> SideDesk:
    """An emptied database."""
    return emptied_desk(own=True)


class Once:
    """Does it at its first call only."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._acts = [act]

    def __call__(self) -> None:
        while self._acts:
            self._acts.pop()()


async def test_a_connection_that_breaks_amid_a_transaction_is_made_anew(desk: SideDesk) -> None:
    async with opened(desk) as rig:
        failpoints.arm("enqueue.before_commit", Once(partial(terminate, desk)))
        try:
            made = await asyncio.gather(*(rig.store.enqueue(new_task(), None) for _ in range(20)))
        finally:
            failpoints.disarm()
        assert all(one.created for one in made)
        assert rig.sql("SELECT count(*) FROM tasks") == [(20,)]


async def test_a_connection_that_broke_between_two_calls_is_made_anew(desk: SideDesk) -> None:
    async with opened(desk) as rig:
        for _ in range(3):
            terminate(desk)
            made = await rig.store.enqueue(new_task(), None)
            terminate(desk)
            assert await rig.reader.row(made.task_id) is not None


@pytest.fixture(scope="module")
def mortal() -> Iterator[Throwaway]:
    """A server that a test may stop."""
    own = Throwaway(settings=("fsync=on",))
    yield own
    own.throw_away()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_what_waits_while_the_database_restarts_is_done_afterwards_once(mortal: Throwaway, mode: str) -> None:
    async with opened_at(mortal.url(), PATIENT) as pair:
        tasks = [new_task() for _ in range(400)]
        made = [asyncio.ensure_future(pair.store.enqueue(task, None)) for task in tasks[:200]]
        await in_thread(partial(mortal.stop, mode))
        made += [asyncio.ensure_future(pair.store.enqueue(task, None)) for task in tasks[200:]]
        await in_thread(mortal.start)
        assert [(one.created, one.status) for one in await asyncio.gather(*made)] == [(True, Status.PENDING)] * 400
        assert await pair.reader.row(tasks[-1].id) is not None
        found = {row.task_id for row in await pair.reader.pending(None, 1_000)}
        assert found >= {task.id for task in tasks}


async def test_while_the_database_is_away_too_long_calls_are_refused_until_it_is_back(mortal: Throwaway) -> None:
    async with opened_at(mortal.url(), IMPATIENT) as pair:
        await in_thread(partial(mortal.stop, "immediate"))
        try:
            refused = await asyncio.gather(
                *(pair.store.enqueue(new_task(), None) for _ in range(3)), return_exceptions=True
            )
            with pytest.raises(StoreUnavailable, match="is away"):
                await pair.reader.clocks()
        finally:
            await in_thread(mortal.start)
        assert [type(one) for one in refused] == [StoreUnavailable] * 3
        assert (await pair.store.enqueue(new_task(), None)).created
        assert await pair.reader.clocks() == []


async def test_what_waits_while_the_database_is_away_is_bounded(
    mortal: Throwaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WAITING_OPERATIONS", 10)
    async with opened_at(mortal.url(), PATIENT) as pair:
        await in_thread(partial(mortal.stop, "immediate"))
        first = asyncio.ensure_future(pair.store.enqueue(new_task(), None))
        waiting = [pair.store.enqueue(new_task(), None)]
        while not waiting[-1].done():
            await turn_of_the_loop()
            waiting.append(pair.store.enqueue(new_task(), None))
        assert isinstance(waiting[-1].exception(), StoreUnavailable)
        assert len(waiting) <= 25
        await in_thread(mortal.start)
        assert (await first).created


async def test_a_store_that_closes_does_not_wait_for_a_database_that_is_away(mortal: Throwaway) -> None:
    async with opened_at(mortal.url(), PATIENT) as pair:
        await in_thread(partial(mortal.stop, "immediate"))
        try:
            refused = asyncio.ensure_future(pair.store.enqueue(new_task(), None))
            await turn_of_the_loop()
            await pair.close()
            with pytest.raises(StoreUnavailable):
                await refused
        finally:
            await in_thread(mortal.start)


async def test_a_store_that_closes_does_not_wait_for_the_answer_to_its_last_commit(mortal: Throwaway) -> None:
    wire = Wire(mortal.folder)
    async with listening(wire.serve) as folder:
        url = mortal.url().replace(str(mortal.folder), folder)
        pair = await open_postgres(url, writer_id=new_id(), options=PostgresOptions(readers=1, timeouts=PATIENT))
        wire.loses = Loss.ANSWER
        wire.cuts = True
        unknown = asyncio.ensure_future(pair.store.enqueue(new_task(), None))
        while wire.lost == 0:
            await turn_of_the_loop()
        await pair.close()
        with pytest.raises(StoreUnavailable, match="is not known"):
            await unknown


async def test_a_database_that_falls_silent_is_given_up_then_taken_up_again(desk: SideDesk) -> None:
    wire = Wire(server().folder)
    curt = Timeouts(statement_s=1.0, margin_s=0.2, connect_s=1.0, patience_s=0.0)
    async with listening(wire.serve) as folder, opened_at(through(folder, desk.url), curt) as pair:
        wire.silent = True
        with pytest.raises(StoreUnavailable):
            await pair.store.enqueue(new_task(), None)
        with pytest.raises(StoreUnavailable):
            await pair.reader.clocks()
        wire.silent = False
        assert await heard_again(pair) == []


async def heard_again(pair: PostgresPair) -> list[tuple[str, float]]:
    """What a read, after a write, gives once both are answered: on a busy machine even that may take several tries."""
    while True:
        with suppress(StoreUnavailable):
            await pair.store.enqueue(new_task(), None)
            return await pair.reader.clocks()


async def test_statements_that_somebody_took_away_are_prepared_anew(desk: SideDesk) -> None:
    async with opened_at(desk.url, PATIENT) as pair:
        await pair.store.enqueue(new_task(), None)
        await (await pair._link.driver()).script("DEALLOCATE ALL")
        assert (await pair.store.enqueue(new_task(), None)).created


async def test_a_transaction_on_a_connection_that_ended_is_undone_as_it_is(desk: SideDesk) -> None:
    link = Link(Address(desk.url, PATIENT))
    connection = PostgresConnection(link, "w")
    await connection.begin()
    terminate(desk)
    await connection.rollback()
    await connection.begin()
    link.drop()
    with pytest.raises(TransactionLost, match="closed"):
        await connection.write("leave", [("nobody",)])
    await connection.rollback()
    with pytest.raises(TransactionLost, match="undone before its commit"):
        await connection.commit()
    connection.close()
