"""The writer: what shares a commit, what waits, what a fault leaves behind."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import msgspec
import pytest

from inferpool.core import failpoints
from inferpool.core.errors import Conflict, InvalidRequest, StoreUnavailable
from inferpool.core.ids import BatchId, ServerId, SessionId, TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.session import Registration
from inferpool.core.task import ClaimFor
from inferpool.store import writer as writing
from inferpool.store.connection import Connection
from inferpool.store.migrate import load_migrations, migrate
from inferpool.store.operations import Single
from inferpool.store.protocol import Completion, Spoken, Verdict
from inferpool.store.runners import InlineRunner, Runner, ThreadRunner
from inferpool.store.sessions import leave
from inferpool.store.sql import SqlStore
from inferpool.store.sqlite_connection import SqliteConnection, connect
from inferpool.store.writer import Writer
from tests.store.builders import ANSWER, SERVER, new_id, new_task, offer
from tests.store.stores import SettableClock, opened_sqlite

pytestmark = pytest.mark.anyio

SESSION = SessionId(new_id())


class Bench:
    """A writer over a real file, with the connection that it writes through."""

    def __init__(self, connection: SqliteConnection, writer: Writer) -> None:
        self.connection = connection
        self.writer = writer
        self.store = SqlStore(writer, 6_000_000)
        self.commits = 0
        connection._driver.set_trace_callback(self._trace)

    def _trace(self, statement: str) -> None:
        self.commits += statement == "COMMIT"

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """What a statement gives on the writer's own connection."""
        return self.connection._driver.execute(statement).fetchall()


@asynccontextmanager
async def bench(folder: Path, runner: Runner | None = None) -> AsyncIterator[Bench]:
    with closing(connect(folder / "store.db", SettableClock())) as connection:
        await migrate(connection, load_migrations("sqlite"), "0.1.0")
        writer = Writer(connection, runner or InlineRunner())
        yield Bench(connection, writer)
        await writer.close()


async def registered(store: SqlStore) -> ClaimFor:
    wish = Registration(
        session_id=SESSION,
        secret_hash="hash",
        epoch=1,
        server_id=SERVER,
        subject="local",
        worker_name="a",
        worker_version="0.1.0",
        labels={},
        llms=[offer("qwen@a")],
        holding=[],
        unwritten=[],
    )
    await store.register(wish)
    return ClaimFor(session_id=SESSION, epoch=1, server_id=SERVER, llm_name="qwen@a", batch=BatchId("b"))


async def turn_of_the_loop() -> None:
    """Let everything run that is ready to."""
    loop = asyncio.get_running_loop()
    turned = loop.create_future()
    loop.call_soon(turned.set_result, None)
    await turned


async def divides_by_zero(_: Connection) -> None:
    raise ZeroDivisionError


async def hands_in_too_much(connection: Connection) -> None:
    await connection.write("now", [(1, 2, 3)])


def spoken(task_id: TaskId, attempt: int = 1) -> Spoken:
    return Spoken(task_id, attempt, SESSION)


async def test_what_waits_together_shares_one_commit(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await asyncio.gather(*(at.store.enqueue(new_task(), None) for _ in range(100)))
        assert at.commits == 1


async def test_a_batch_is_bounded_by_its_operations(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await asyncio.gather(*(at.store.enqueue(new_task(), None) for _ in range(writing.BATCH_OPERATIONS + 1)))
        assert at.commits == 2


async def test_a_batch_is_bounded_by_its_bytes(tmp_path: Path) -> None:
    half = bytes(writing.BATCH_BYTES // 2)
    async with bench(tmp_path) as at:
        await asyncio.gather(*(at.store.enqueue(new_task(request=half), None) for _ in range(3)))
        assert at.commits == 2


async def test_the_next_verb_of_a_task_waits_for_the_next_batch(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        task = new_task()
        made, ended, other = await asyncio.gather(
            at.store.enqueue(task, None), at.store.cancel(task.id), at.store.enqueue(new_task(), None)
        )
        assert (made.status, ended.status, other.status) == (Status.PENDING, Status.CANCELLED, Status.PENDING)
        assert at.commits == 2


async def test_many_verbs_of_one_task_hold_up_nobody(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        repeats = [at.store.cancel(TaskId("one")) for _ in range(writing.BATCH_OPERATIONS + 2)]
        assert (await at.store.enqueue(new_task(), None)).created
        assert {(await one).status for one in repeats} == {None}


async def test_one_key_twice_at_once_makes_one_task(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        first, second = await asyncio.gather(*(at.store.enqueue(new_task(key="k"), None) for _ in range(2)))
        assert (first.created, second.created) == (True, False)
        assert first.task_id == second.task_id


async def test_what_wants_a_transaction_of_its_own_keeps_its_turn(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        slot = await registered(at.store)
        before = at.store.enqueue(new_task(), slot)
        leaving = at.writer.submit(Single(partial(leave, session_id=SESSION, epoch=1), alone=True))
        after = at.store.enqueue(new_task(), slot)
        await leaving
        assert (await before).status is Status.CLAIMED
        assert (await after).status is Status.PENDING


async def test_an_operation_left_for_the_next_batch_comes_before_what_followed_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        slot = await registered(at.store)
        task = new_task()
        made = at.store.enqueue(task, slot)
        done = at.store.complete(Completion(spoken=spoken(task.id), answer=ANSWER))
        await at.store.leave(SESSION, 1)
        assert made.done()
        assert done.done()
        assert (await done).verdict is Verdict.DONE


async def test_a_start_costs_no_commit_of_its_own(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        task = new_task()
        await at.store.enqueue(task, await registered(at.store))
        before = at.commits
        at.store.start(spoken(task.id))
        await turn_of_the_loop()
        assert at.commits == before
        assert at.rows("SELECT status FROM tasks") == [("claimed",)]


@pytest.mark.parametrize("flush", [lambda s: s.beat(SERVER, []), lambda s: s.enqueue(new_task(rank=9.0), None)])
async def test_a_start_rides_on_any_flush(tmp_path: Path, flush: Callable[[SqlStore], asyncio.Future[None]]) -> None:
    async with bench(tmp_path) as at:
        task = new_task()
        await at.store.enqueue(task, await registered(at.store))
        before = at.commits
        at.store.start(spoken(task.id))
        await flush(at.store)
        assert at.commits == before + 1
        assert at.rows(f"SELECT status FROM tasks WHERE id = '{task.id}'") == [("running",)]


async def test_a_start_is_kept_when_what_it_rides_on_is_refused(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        task = new_task()
        await at.store.enqueue(task, await registered(at.store))
        at.store.start(spoken(task.id))
        with pytest.raises(InvalidRequest):
            await at.store.beat(ServerId("\ud800"), [])
        assert at.rows("SELECT status FROM tasks") == [("running",)]


async def test_closing_flushes_what_waits(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        task = new_task()
        await at.store.enqueue(task, await registered(at.store))
        at.store.start(spoken(task.id))
        last = at.store.enqueue(new_task(), None)
        await at.writer.close()
        assert last.result().created
        assert at.rows("SELECT status FROM tasks ORDER BY id") == [("running",), ("pending",)]


async def test_closing_flushes_a_start_that_nothing_followed(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await at.store.enqueue(task := new_task(), await registered(at.store))
        at.store.start(spoken(task.id))
        await at.writer.close()
        assert at.rows("SELECT status FROM tasks") == [("running",)]


async def test_a_closing_store_takes_nothing_more(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        await at.writer.close()
        with pytest.raises(StoreUnavailable, match="closing"):
            await at.store.enqueue(new_task(), None)


async def test_more_operations_than_may_wait_are_refused_with_a_time_to_retry(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        waiting = [at.store.cancel(TaskId(new_id())) for _ in range(writing.WAITING_OPERATIONS)]
        with pytest.raises(StoreUnavailable, match="more waits") as refused:
            await at.store.cancel(TaskId("nobody"))
        assert refused.value.retry_after_s > 0
        await asyncio.gather(*waiting)
        assert (await at.store.cancel(TaskId("nobody"))).status is None


async def test_more_bytes_than_may_wait_are_refused(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        big = at.store.enqueue(new_task(request=bytes(writing.WAITING_BYTES)), None)
        with pytest.raises(StoreUnavailable):
            await at.store.cancel(TaskId("nobody"))
        assert (await big).created
        await at.store.cancel(TaskId("nobody"))


async def test_starts_beyond_the_bound_are_dropped(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        for _ in range(writing.WAITING_OPERATIONS + 1):
            at.store.start(spoken(TaskId("nobody")))
        assert len(at.writer._starts) == writing.WAITING_OPERATIONS
        assert (await at.store.cancel(TaskId("nobody"))).status is None


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


async def test_whoever_stopped_waiting_is_passed_over(tmp_path: Path) -> None:
    async with bench(tmp_path) as at:
        unwanted = at.store.enqueue(task := new_task(), None)
        unwanted.cancel()
        await at.store.cancel(TaskId("nobody"))
        assert at.rows("SELECT id FROM tasks") == [(task.id,)]


async def test_abandoning_drops_what_waits(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened_sqlite(path) as pair:
        await pair.store.enqueue(kept := new_task(), None)
    crashing = opened_sqlite(path)
    pair = await crashing.__aenter__()
    lost = pair.store.enqueue(new_task(), None)
    pair.abandon()
    assert not lost.done()
    async with opened_sqlite(path) as pair:
        assert [row.task_id for row in await pair.reader.pending(None, 10)] == [kept.id]


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


async def test_a_thread_does_the_work_and_the_loop_hears_of_it(tmp_path: Path) -> None:
    threads: list[str] = []
    failpoints.arm("enqueue.before_commit", lambda: threads.append(threading.current_thread().name))
    runner = ThreadRunner("store writer")
    try:
        async with bench(tmp_path, runner) as at:
            made = await asyncio.gather(*(at.store.enqueue(new_task(), None) for _ in range(10)))
            assert [one.created for one in made] == [True] * 10
    finally:
        failpoints.disarm()
        await runner.close()
    assert set(threads) == {"store writer"}
