"""Two servers at one row, the first of them stopped at its commit until the second waits for it or is done."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import asyncpg
import pytest

from inferpool.core.clock import MINUTE
from inferpool.core.errors import SessionInactive
from inferpool.core.lifecycle import Ending, Status
from inferpool.store.postgres_driver import Timeouts
from inferpool.store.protocol import Verdict
from tests.store.builders import Worker, complete, enqueue, registered, row_of, running
from tests.store.peers import SERVERS, Two, orphaned, standing, two_servers
from tests.store.shaky import turn_of_the_loop
from tests.store.side_desk import SideDesk, emptied_desk

pytestmark = pytest.mark.anyio

A = TypeVar("A")
B = TypeVar("B")

UNHURRIED = Timeouts(statement_s=100.0, lock_s=100.0, idle_s=100.0)
PATIENCE_S = 90.0

BUILD = f"""
CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql
AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER gate AFTER INSERT OR UPDATE ON writers DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.id = '{SERVERS[0]}') EXECUTE FUNCTION wait_at_the_gate();
"""
TEAR_DOWN = "DROP TRIGGER gate ON writers; DROP FUNCTION wait_at_the_gate();"
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND wait_event_type = 'Lock'
"""


class Race(NamedTuple):
    """Two servers with the gate that the first one's commits go through."""

    two: Two
    desk: SideDesk
    keeper: "asyncpg.Connection[asyncpg.Record]"

    async def run(
        self, first: Callable[[], Awaitable[A]], second: Callable[[], Awaitable[B]]
    ) -> tuple[A, B | Exception]:
        """Do the first up to its commit, then the second as far as it comes, then let the first one through."""
        async with self.stopped(first) as one:
            other = asyncio.ensure_future(second())
            await self._waits(other, 2)
            assert not one.done()
        return await one, await _outcome(other)

    @asynccontextmanager
    async def stopped(self, act: Callable[[], Awaitable[A]]) -> "AsyncIterator[asyncio.Future[A]]":
        """Do what the first server does, up to its commit, which it makes at the end."""
        async with asyncio.timeout(PATIENCE_S):
            await self.keeper.execute("SELECT pg_advisory_lock(1)")
            doing = asyncio.ensure_future(act())
            await self._waits(doing, 1)
            yield doing
            await self.keeper.execute("SELECT pg_advisory_unlock(1)")
            await doing

    async def _waits(self, act: "asyncio.Future[A]", waiting: int) -> None:
        """Until so many wait for a lock, or this one is done."""
        while not act.done() and self.desk.sql(WAITING) != [(waiting,)]:
            await turn_of_the_loop()


async def _outcome(act: "asyncio.Future[B]") -> B | Exception:
    [outcome] = await asyncio.gather(act, return_exceptions=True)
    if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
        raise outcome
    return outcome


@asynccontextmanager
async def kept(desk: SideDesk) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A gate with the connection that shuts it."""
    desk.script(BUILD)
    keeper = await asyncpg.connect(desk.url)
    try:
        yield keeper
    finally:
        await keeper.close()
        desk.script(TEAR_DOWN)


@pytest.fixture
async def race() -> AsyncIterator[Race]:
    """Two servers on one emptied database, alive."""
    desk = emptied_desk()
    async with kept(desk) as keeper, two_servers(desk, UNHURRIED) as two:
        yield Race(two, desk, keeper)


async def busy(two: Two, at: int) -> Worker:
    """A worker of that server."""
    return await registered(two[at], f"worker {at}", SERVERS[at])


async def test_a_late_result_before_its_rescue_counts(race: Race) -> None:
    two = race.two
    worker = await busy(two, 0)
    task_id = await running(two.first, worker)
    two.first.later(MINUTE)
    said, moved = await race.run(
        partial(two.first.store.complete, complete(worker.says(task_id))),
        partial(two.second.store.deactivate, orphaned(worker)),
    )
    assert (said.verdict, moved) == (Verdict.DONE, [])
    assert (await row_of(two.first, task_id)).status is Status.COMPLETED
    assert [line.ending for line in await two.first.reader.attempts(task_id)] == [Ending.COMPLETED]


async def test_a_late_result_after_its_rescue_is_stale(race: Race) -> None:
    two = race.two
    worker = await busy(two, 1)
    task_id = await running(two.second, worker)
    two.first.later(MINUTE)
    moved, said = await race.run(
        partial(two.first.store.deactivate, orphaned(worker)),
        partial(two.second.store.complete, complete(worker.says(task_id))),
    )
    assert moved is not None
    assert [one.task_id for one in moved] == [task_id]
    assert not isinstance(said, Exception)
    assert said.verdict is Verdict.STALE
    assert (await row_of(two.first, task_id)).lost_by == worker.id
    assert [line.ending for line in await two.first.reader.attempts(task_id)] == [Ending.REVERTED]


async def test_of_two_rescuers_one_moves_the_rows(race: Race) -> None:
    two = race.two
    worker = await busy(two, 1)
    held = [await running(two.second, worker) for _ in range(3)]
    two.first.later(MINUTE)
    moved, again = await race.run(
        partial(two.first.store.deactivate, orphaned(worker)), partial(two.second.store.deactivate, orphaned(worker))
    )
    assert moved is not None
    assert sorted(one.task_id for one in moved) == sorted(held)
    assert again is None
    assert {(await row_of(two.first, task_id)).tries for task_id in held} == {1}


@pytest.mark.parametrize("heard", [True, False])
async def test_a_server_that_beats_before_its_session_is_rescued_keeps_it(race: Race, heard: bool) -> None:
    two = race.two
    worker = await busy(two, 0)
    task_id = await running(two.first, worker)
    two.first.later(MINUTE)
    _, moved = await race.run(
        partial(two.first.store.beat, SERVERS[0], [worker.id] if heard else []),
        partial(two.second.store.deactivate, orphaned(worker)),
    )
    assert moved is None
    assert (await standing(two.first, worker)).active
    assert (await row_of(two.first, task_id)).status is Status.RUNNING


async def test_a_server_that_beats_after_its_session_is_rescued_has_lost_it(race: Race) -> None:
    two = race.two
    worker = await busy(two, 1)
    task_id = await running(two.second, worker)
    two.first.later(MINUTE)
    moved, _ = await race.run(
        partial(two.first.store.deactivate, orphaned(worker)), partial(two.second.store.beat, SERVERS[1], [worker.id])
    )
    assert moved is not None
    assert [one.task_id for one in moved] == [task_id]
    assert not (await standing(two.first, worker)).active
    assert await two.first.reader.servers() == [SERVERS[1]]


async def test_rescuers_of_a_servers_other_sessions_do_not_wait(race: Race) -> None:
    two = race.two
    workers = [await registered(two.second, name, SERVERS[1]) for name in "ab"]
    two.first.later(MINUTE)
    async with race.stopped(partial(two.first.store.deactivate, orphaned(workers[0]))) as rescuer:
        assert await two.second.store.deactivate(orphaned(workers[1])) == []
        assert not rescuer.done()
    assert await rescuer == []


async def test_a_worker_that_registers_elsewhere_before_its_rescue_keeps_what_it_runs(race: Race) -> None:
    two = race.two
    worker = await busy(two, 1)
    task_id = await running(two.second, worker)
    two.first.later(MINUTE)
    loss = orphaned(worker)
    worker.server_id = SERVERS[0]
    again = Worker(two.first, worker.name, SERVERS[0])
    again.id, again.epoch = worker.id, worker.epoch
    known, moved = await race.run(partial(again.register, [(task_id, 1)]), partial(two.second.store.deactivate, loss))
    assert moved is None
    assert ([one.task_id for one in known.resume], known.moved) == ([task_id], [])
    assert (await row_of(two.first, task_id)).claimed_by == worker.id


async def test_a_worker_that_registers_after_its_rescue_has_back_what_it_runs(race: Race) -> None:
    two = race.two
    worker = await busy(two, 1)
    task_id = await running(two.second, worker)
    two.first.later(MINUTE)
    moved, known = await race.run(
        partial(two.first.store.deactivate, orphaned(worker)), partial(worker.register, [(task_id, 1)])
    )
    assert moved is not None
    assert [one.status for one in moved] == [Status.PENDING]
    assert not isinstance(known, Exception)
    assert [one.task_id for one in known.resume] == [task_id]
    row = await row_of(two.first, task_id)
    assert (row.claimed_by, row.tries, row.attempt) == (worker.id, 0, 1)


async def test_an_epoch_binds_at_the_server_that_was_first(race: Race) -> None:
    two = race.two
    worker = await busy(two, 1)
    held, again = await race.run(
        partial(two.first.store.bind, worker.id, 1, SERVERS[0]),
        partial(two.second.store.bind, worker.id, 1, SERVERS[1]),
    )
    assert held == []
    assert isinstance(again, SessionInactive)
    assert "had its channel" in str(again)
    there = await standing(two.second, worker)
    assert (there.server_id, there.bound) == (SERVERS[0], True)


async def test_a_claim_before_a_cancel_is_cancelled(race: Race) -> None:
    two = race.two
    worker = await busy(two, 0)
    [task_id] = await enqueue(two.first)
    taken, cancelled = await race.run(worker.claim, partial(two.second.store.cancel, task_id))
    assert [one.task_id for one in taken] == [task_id]
    assert not isinstance(cancelled, Exception)
    assert cancelled.moved is not None
    assert (cancelled.moved.session_id, cancelled.moved.attempt) == (worker.id, 1)
    assert [line.ending for line in await two.first.reader.attempts(task_id)] == [Ending.CANCELLED]


async def test_a_claim_after_a_cancel_takes_nothing(race: Race) -> None:
    two = race.two
    worker = await busy(two, 1)
    [task_id] = await enqueue(two.first)
    cancelled, taken = await race.run(partial(two.first.store.cancel, task_id), worker.claim)
    assert cancelled.moved is not None
    assert taken == []
    row = await row_of(two.first, task_id)
    assert (row.status, row.attempt) == (Status.CANCELLED, 0)


async def test_a_cancel_before_a_result_wins(race: Race) -> None:
    two = race.two
    worker = await busy(two, 1)
    task_id = await running(two.second, worker)
    cancelled, said = await race.run(
        partial(two.first.store.cancel, task_id), partial(two.second.store.complete, complete(worker.says(task_id)))
    )
    assert cancelled.moved is not None
    assert not isinstance(said, Exception)
    assert (said.verdict, said.status) == (Verdict.CANCELLED, Status.CANCELLED)
    assert (await row_of(two.first, task_id)).response_status is None


async def test_a_cancel_after_a_result_finds_it_ended(race: Race) -> None:
    two = race.two
    worker = await busy(two, 0)
    task_id = await running(two.first, worker)
    said, cancelled = await race.run(
        partial(two.first.store.complete, complete(worker.says(task_id))), partial(two.second.store.cancel, task_id)
    )
    assert said.verdict is Verdict.DONE
    assert not isinstance(cancelled, Exception)
    assert (cancelled.status, cancelled.moved) == (Status.COMPLETED, None)


async def test_a_server_that_beats_is_not_forgotten_meanwhile(race: Race) -> None:
    two = race.two
    two.first.later(MINUTE)
    _, gone = await race.run(
        partial(two.first.store.beat, SERVERS[0], []), partial(two.second.store.forget_servers, MINUTE, 10)
    )
    assert gone == 1
    assert await two.first.reader.servers() == [SERVERS[0]]
