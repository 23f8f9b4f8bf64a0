"""Commits whose answer, or whose request, is lost: what was said is known, nothing is lost or done twice."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from inferpool.core.clock import HOUR, MINUTE
from inferpool.core.errors import StoreUnavailable
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.store.protocol import Verdict
from tests.store.builders import Worker, complete, fail, new_task, registered, retry
from tests.store.rigs import PostgresRig
from tests.store.shaky import (
    IMPATIENT,
    PATIENT,
    opened_at,
    through,
    turn_of_the_loop,
    wired,
)
from tests.store.side_desk import SideDesk, emptied_desk, new_database
from tests.store.throwaway import server
from tests.store.wires import Loss, Wire, listening

pytestmark = pytest.mark.anyio


@pytest.fixture
def desk() -> SideDesk:
    """An emptied database."""
    return emptied_desk(own=True)


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


async def test_what_became_of_a_commit_is_asked_until_somebody_answers(desk: SideDesk) -> None:
    wire = Wire(server().folder)
    async with listening(wire.serve) as folder, opened_at(through(folder, desk.url), IMPATIENT) as pair:
        wire.loses = Loss.ANSWER
        wire.cuts = True
        made = asyncio.ensure_future(pair.store.enqueue(new_task(), None))
        while wire.refused < 2:
            await turn_of_the_loop()
        wire.cuts = False
        assert (await made).created
    assert desk.sql("SELECT count(*) FROM tasks") == [(1,)]


@pytest.mark.parametrize("loss", list(Loss))
async def test_a_migration_whose_commit_was_lost_is_looked_at_again(loss: Loss) -> None:
    url = new_database(f"migrated_{loss.value}")
    wire = Wire(server().folder)
    wire.loses = loss
    async with listening(wire.serve) as folder, opened_at(through(folder, url), PATIENT) as pair:
        assert wire.lost == 1
        assert (await pair.store.enqueue(new_task(), None)).created


async def test_a_migration_that_never_comes_through_is_said() -> None:
    url = new_database("never")
    wire = Wire(server().folder)
    wire.loses, wire.stays = Loss.REQUEST, True
    async with listening(wire.serve) as folder:
        with pytest.raises(StoreUnavailable, match="cannot be migrated"):
            async with opened_at(through(folder, url), PATIENT):
                pass


async def test_a_forgotten_writer_is_known_again_by_its_next_transaction(desk: SideDesk) -> None:
    async with wired(desk) as (rig, wire):
        await rig.store.enqueue(new_task(), None)
        rig.sql("DELETE FROM writers")
        wire.loses = Loss.ANSWER
        await rig.store.enqueue(new_task(), None)
        assert rig.sql("SELECT commits FROM writers") == [(2,)]
        assert rig.sql("SELECT count(*) FROM tasks") == [(2,)]
