"""Claims about the history of attempts, with what is acknowledged because of it."""

import pytest

from inferpool.core.clock import HOUR, MINUTE
from inferpool.core.errors import Code
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Ending, Status
from inferpool.core.task import Attempt, QueueMode
from inferpool.store.protocol import Settlement, Verdict
from tests.store.builders import Rig, claimed, complete, ended, enqueue, fail, registered, retry, row_of, running

pytestmark = pytest.mark.anyio


def told(said: Settlement) -> tuple[Verdict, Status | None]:
    """What a session is told."""
    return said.verdict, said.status


async def last(rig: Rig, task_id: TaskId) -> Attempt:
    """The newest line of the history."""
    return (await rig.reader.attempts(task_id))[-1]


async def test_a_line_says_who_had_the_attempt_from_when_to_when(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    row = await row_of(rig, task_id)
    rig.later(MINUTE)
    await rig.store.complete(complete(worker.says(task_id)))
    [line] = await rig.reader.attempts(task_id)
    assert (line.task_id, line.attempt, line.session_id, line.llm_name) == (task_id, 1, worker.id, worker.llm)
    assert line.started_at == row.claimed_at
    assert line.ended_at >= line.started_at + MINUTE
    assert (line.ending, line.counted, line.code, line.message) == (Ending.COMPLETED, False, None, None)
    assert (await row_of(rig, task_id)).completed_at == line.ended_at


async def test_a_failed_attempt_keeps_the_detail_in_the_history_alone(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.fail(fail(worker.says(task_id)))
    line = await last(rig, task_id)
    assert (line.ending, line.counted, line.code) == (Ending.FAILED, False, Code.ENGINE_ERROR)
    assert line.message == "the engine answered 503"
    assert rig.sql("SELECT detail FROM attempts") == [("invalid key ****",)]


@pytest.mark.parametrize("counts", [True, False])
async def test_a_retried_attempt_says_whether_it_cost_a_try(rig: Rig, counts: bool) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.retry(retry(worker.says(task_id), counts=counts))
    line = await last(rig, task_id)
    assert (line.ending, line.counted, line.message) == (Ending.RETRIED, counts, "the engine answered 503")


async def test_the_last_try_failed(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker, max_tries=1)
    await rig.store.retry(retry(worker.says(task_id)))
    line = await last(rig, task_id)
    assert (line.ending, line.counted) == (Ending.FAILED, True)


async def test_a_429_of_an_impatient_task_failed_without_a_try(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker, max_tries=1, mode=QueueMode.LIVE)
    await rig.store.retry(retry(worker.says(task_id), counts=False))
    line = await last(rig, task_id)
    assert (line.ending, line.counted) == (Ending.FAILED, False)
    assert (await row_of(rig, task_id)).status is Status.ERROR


async def test_a_returned_attempt_costs_no_try(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await claimed(rig, worker)
    await rig.store.give_back(worker.says(task_id))
    line = await last(rig, task_id)
    assert (line.ending, line.counted) == (Ending.RETURNED, False)


async def test_a_cancelled_attempt_is_in_the_history(rig: Rig) -> None:
    worker = await registered(rig)
    line = await last(rig, await ended(rig, worker, Status.CANCELLED))
    assert (line.ending, line.counted, line.session_id) == (Ending.CANCELLED, False, worker.id)


@pytest.mark.parametrize("counts", [True, False])
async def test_a_lost_attempt_says_whether_it_cost_a_try(rig: Rig, counts: bool) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await worker.lose(counts=counts)
    line = await last(rig, task_id)
    assert (line.ending, line.counted, line.session_id) == (Ending.REVERTED, counts, worker.id)


async def test_an_overdue_attempt_failed(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    rig.later(2 * HOUR)
    await rig.store.end_overdue(10)
    line = await last(rig, task_id)
    assert (line.ending, line.counted, line.code) == (Ending.FAILED, False, Code.ENGINE_TIMEOUT)


async def test_adopt_takes_the_line_back(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await worker.lose()
    await worker.register([(task_id, 1)])
    assert await rig.reader.attempts(task_id) == []
    assert (await row_of(rig, task_id)).tries == 0


async def test_a_task_that_never_ran_has_no_history(rig: Rig) -> None:
    [cancelled, expired] = await enqueue(rig, 2)
    await rig.store.cancel(cancelled)
    rig.later(2 * HOUR)
    await rig.store.expire(10)
    assert await rig.reader.attempts(cancelled) == await rig.reader.attempts(expired) == []


async def test_the_history_outlives_a_replay(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await ended(rig, worker, Status.ERROR)
    await rig.store.replay(task_id, 2.0, HOUR)
    await worker.claim()
    await rig.store.complete(complete(worker.says(task_id, 2)))
    endings = [(line.attempt, line.ending) for line in await rig.reader.attempts(task_id)]
    assert endings == [(1, Ending.FAILED), (2, Ending.COMPLETED)]


async def test_the_event_that_ended_an_attempt_is_acknowledged_again(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    end = complete(worker.says(task_id))
    assert told(await rig.store.complete(end)) == (Verdict.DONE, Status.COMPLETED)
    assert told(await rig.store.complete(end)) == (Verdict.REPEAT, Status.COMPLETED)


async def test_a_repeat_is_acknowledged_although_the_task_went_on(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    first = retry(worker.says(task_id))
    assert told(await rig.store.retry(first)) == (Verdict.DONE, Status.PENDING)
    await rig.store.make_ready(10)
    await worker.claim()
    assert told(await rig.store.retry(first)) == (Verdict.REPEAT, Status.CLAIMED)
    await rig.store.complete(complete(worker.says(task_id, 2)))
    assert told(await rig.store.retry(first)) == (Verdict.REPEAT, Status.COMPLETED)


async def test_a_repeat_is_acknowledged_after_a_replay(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await ended(rig, worker, Status.ERROR)
    await rig.store.replay(task_id, 2.0, HOUR)
    assert told(await rig.store.fail(fail(worker.says(task_id)))) == (Verdict.REPEAT, Status.PENDING)


async def test_a_repeated_last_try_is_acknowledged(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker, max_tries=1)
    end = retry(worker.says(task_id))
    assert told(await rig.store.retry(end)) == (Verdict.DONE, Status.ERROR)
    assert told(await rig.store.retry(end)) == (Verdict.REPEAT, Status.ERROR)


async def test_nobody_else_repeats_what_a_session_said(rig: Rig) -> None:
    worker, other = await registered(rig), await registered(rig, "b")
    task_id = await running(rig, worker)
    await rig.store.complete(complete(worker.says(task_id)))
    said = await rig.store.complete(complete(other.says(task_id)))
    assert told(said) == (Verdict.STALE, Status.COMPLETED)


async def test_a_result_for_a_cancelled_task_is_refused_as_cancelled(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await ended(rig, worker, Status.CANCELLED)
    said = await rig.store.complete(complete(worker.says(task_id)))
    assert told(said) == (Verdict.CANCELLED, Status.CANCELLED)


async def test_a_result_for_a_cancelled_attempt_of_a_replayed_task_is_stale(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await ended(rig, worker, Status.CANCELLED)
    await rig.store.replay(task_id, 2.0, HOUR)
    said = await rig.store.complete(complete(worker.says(task_id)))
    assert told(said) == (Verdict.STALE, Status.PENDING)
