"""PostgreSQL that goes, comes back, loses an answer, keeps a lock: nothing is lost, done twice, or waited for for ever."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from inferpool.core import failpoints
from inferpool.core.clock import HOUR, MINUTE
from inferpool.core.errors import InvalidRequest, StoreUnavailable
from inferpool.core.ids import ServerId, TaskId
from inferpool.core.lifecycle import Status
from inferpool.store import writer as writing
from inferpool.store.connection import Connection
from inferpool.store.operations import Single
from inferpool.store.postgres import PostgresOptions, PostgresPair, open_postgres
from inferpool.store.postgres_driver import Timeouts
from inferpool.store.protocol import Verdict
from tests.store.builders import Worker, complete, fail, new_id, new_task, registered, retry
from tests.store.rigs import PostgresRig
from tests.store.side_desk import SideDesk, emptied_desk
from tests.store.throwaway import Throwaway, server
from tests.store.wires import Loss, Wire, listening

pytestmark = pytest.mark.anyio

PATIENT = Timeouts(patience_s=60.0)
IMPATIENT = Timeouts(patience_s=0.0)


@pytest.fixture
def desk() -> SideDesk:
    """An emptied database."""
    return emptied_desk()


@asynccontextmanager
async def opened(desk: SideDesk, timeouts: Timeouts = PATIENT, url: str | None = None) -> AsyncIterator[PostgresRig]:
    """A store on the database, reached by the URL if another is given."""
    pair = await open_postgres(
        url or desk.url, writer_id=new_id(), options=PostgresOptions(readers=1, timeouts=timeouts)
    )
    try:
        yield PostgresRig(pair.store, pair.reader, desk)
    finally:
        await pair.close()


@asynccontextmanager
async def wired(desk: SideDesk) -> AsyncIterator[tuple[PostgresRig, Wire]]:
    """A store that reaches the database through a wire."""
    wire = Wire(server().folder)
    async with listening(wire.serve) as folder, opened(desk, url=desk.url.replace(str(server().folder), folder)) as rig:
        yield rig, wire


def terminate(desk: SideDesk) -> None:
    """End every connection but our own."""
    desk.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


Act = Callable[[PostgresRig, Worker], Awaitable[object]]


async def enqueues(rig: PostgresRig, worker: Worker) -> object:
    made = await asyncio.gather(*(rig.store.enqueue(new_task(), slot) for slot in (None, worker.slot())))
    return [(one.created, one.status) for one in made]


async def keyed(rig: PostgresRig, _: Worker) -> object:
    return (await rig.store.enqueue(new_task(key="k"), None)).created


async def claims(rig: PostgresRig, worker: Worker) -> object:
    return len(await worker.claim(free=2))


async def completes(rig: PostgresRig, worker: Worker) -> object:
    return (await rig.store.complete(complete(worker.says(TaskId(HELD)), chunks=b"packed"))).verdict


async def fails(rig: PostgresRig, worker: Worker) -> object:
    return (await rig.store.fail(fail(worker.says(TaskId(HELD))))).verdict


async def retries(rig: PostgresRig, worker: Worker) -> object:
    said = await rig.store.retry(retry(worker.says(TaskId(HELD)), delay=MINUTE))
    return said.verdict, said.moved is not None and said.moved.attempt


async def returns(rig: PostgresRig, worker: Worker) -> object:
    said = await rig.store.give_back(worker.says(TaskId(HELD)))
    return said.verdict, said.moved is not None


async def cancels(rig: PostgresRig, worker: Worker) -> object:
    said = await rig.store.cancel(TaskId(HELD))
    return said.status, said.moved is not None and said.moved.session_id == worker.id


async def registers(rig: PostgresRig, worker: Worker) -> object:
    answer = await worker.register([])
    return answer.epoch, [(one.status, one.attempt) for one in answer.moved]


async def loses(rig: PostgresRig, worker: Worker) -> object:
    return len(await worker.lose())


async def expires(rig: PostgresRig, _: Worker) -> object:
    rig.later(2 * HOUR)
    return len(await rig.store.expire(100))


HELD = "01900000-0000-7000-8000-fffffffffffe"

ACTS: dict[str, tuple[Act, object]] = {
    "enqueue": (enqueues, [(True, Status.PENDING), (True, Status.CLAIMED)]),
    "enqueue with a key": (keyed, True),
    "claim": (claims, 2),
    "complete": (completes, Verdict.DONE),
    "fail": (fails, Verdict.DONE),
    "retry": (retries, (Verdict.DONE, 1)),
    "give back": (returns, (Verdict.DONE, True)),
    "cancel": (cancels, (Status.CANCELLED, True)),
    "register": (registers, (2, [(Status.PENDING, 1)])),
    "deactivate": (loses, 1),
    "expire": (expires, 3),
}


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("name", ACTS)
async def test_a_commit_that_was_lost_is_told_as_if_nothing_had_been(desk: SideDesk, name: str, loss: Loss) -> None:
    act, outcome = ACTS[name]
    async with wired(desk) as (rig, wire):
        worker = await registered(rig)
        for _ in range(3):
            await rig.store.enqueue(new_task(), None)
        await rig.store.enqueue(new_task(id=TaskId(HELD)), worker.slot())
        wire.loses = loss
        assert await act(rig, worker) == outcome
        assert wire.lost == 1
        attempts = rig.sql("SELECT task_id, attempt FROM attempts")
        assert len(attempts) == len(set(attempts)) <= 1


async def test_commits_that_are_lost_again_and_again_lose_nothing(desk: SideDesk) -> None:
    async with wired(desk) as (rig, wire):
        for loss in (Loss.REQUEST, Loss.ANSWER) * 4:
            wire.loses = loss
            await rig.store.enqueue(new_task(), None)
        assert wire.lost == 8
        assert rig.sql("SELECT count(*) FROM tasks") == [(8,)]


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


@asynccontextmanager
async def opened_at(url: str, timeouts: Timeouts) -> AsyncIterator[PostgresPair]:
    pair = await open_postgres(url, writer_id=new_id(), options=PostgresOptions(readers=1, timeouts=timeouts))
    try:
        yield pair
    finally:
        await pair.close()


async def in_thread(work: Callable[[], None]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, work)


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
        assert len(waiting) <= 13
        await in_thread(mortal.start)
        assert (await first).created


async def turn_of_the_loop() -> None:
    turned = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turned.set_result, None)
    await turned


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


BRIEF_LOCK = Timeouts(lock_s=0.05)
BRIEF_STATEMENT = Timeouts(statement_s=0.1)


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


async def test_a_value_without_a_place_in_its_column_is_refused_alone(desk: SideDesk) -> None:
    async with opened(desk) as rig:
        bad = [new_task(owner="\ud800"), new_task(owner="a\0b"), new_task(expires_in=2**70), new_task(lane="x" * 9_000)]
        good = [new_task() for _ in range(5)]
        made = await asyncio.gather(*(rig.store.enqueue(task, None) for task in (*bad, *good)), return_exceptions=True)
        assert [type(one) for one in made[:3]] == [InvalidRequest] * 3
        assert all(not isinstance(one, BaseException) for one in made[4:])
        assert "a\0b" not in str(made)


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


async def test_a_forgotten_writer_is_known_again_by_its_next_transaction(desk: SideDesk) -> None:
    async with wired(desk) as (rig, wire):
        await rig.store.enqueue(new_task(), None)
        rig.sql("DELETE FROM writers")
        wire.loses = Loss.ANSWER
        await rig.store.enqueue(new_task(), None)
        assert rig.sql("SELECT commits FROM writers") == [(2,)]
        assert rig.sql("SELECT count(*) FROM tasks") == [(2,)]


async def test_a_heartbeat_is_written_by_the_databases_clock(desk: SideDesk) -> None:
    async with opened(desk) as rig:
        await rig.store.beat(ServerId("here"), [])
        assert rig.sql("SELECT seen_at FROM servers") == [(rig.now(),)]
