"""Claims about claiming: who gets which tasks, in which order, once."""

import asyncio
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from inferpool.core.clock import MINUTE
from inferpool.core.ids import SessionId
from inferpool.core.lifecycle import Status
from inferpool.core.turns import Turns
from inferpool.store.protocol import Claim
from tests.store.builders import (
    LANE,
    SECOND_SERVER,
    Rig,
    Worker,
    enqueue,
    new_id,
    new_task,
    registered,
    retry,
    row_of,
    running,
    want,
)
from tests.store.rigs import RACING

pytestmark = pytest.mark.anyio


async def test_tasks_are_claimed_by_rank_then_age(rig: Rig) -> None:
    worker = await registered(rig)
    tasks = [new_task(rank=rank) for rank in (2.0, 1.0, 3.0, 1.0, 2.0)]
    for task in tasks:
        await rig.store.enqueue(task, None)
    taken = await worker.claim()
    assert [each.task_id for each in taken] == [tasks[at].id for at in (1, 3, 0, 4, 2)]


async def test_a_claim_takes_no_more_than_the_free_slots(rig: Rig) -> None:
    worker = await registered(rig)
    waiting = await enqueue(rig, 5)
    assert [each.task_id for each in await worker.claim(free=2)] == waiting[:2]
    assert [each.task_id for each in await worker.claim(free=2)] == waiting[2:4]
    assert [each.task_id for each in await worker.claim(free=2)] == waiting[4:]
    assert await worker.claim(free=2) == []


async def test_no_free_slot_takes_nothing(rig: Rig) -> None:
    worker = await registered(rig)
    await enqueue(rig)
    assert await worker.claim(free=0) == []


async def test_a_claim_takes_from_its_lanes_alone(rig: Rig) -> None:
    worker = await registered(rig)
    [other] = await enqueue(rig, lane="pool:llama")
    [mine] = await enqueue(rig)
    assert [each.task_id for each in await worker.claim()] == [mine]
    assert (await row_of(rig, other)).status is Status.PENDING


async def test_an_llm_takes_only_the_endpoints_that_it_has(rig: Rig) -> None:
    worker = await registered(rig)
    chat, embed = new_task(rank=2.0), new_task(endpoint="embeddings", rank=1.0)
    for task in (embed, chat):
        await rig.store.enqueue(task, None)
    lanes = [want(LANE, worker.llm, ["chat/completions", "responses"])]
    assert [each.task_id for each in await worker.claim(lanes)] == [chat.id]
    assert (await row_of(rig, embed.id)).status is Status.PENDING
    assert await worker.claim([want(LANE, worker.llm, [])]) == []


async def test_tasks_that_an_llm_has_no_endpoint_for_do_not_hide_the_others(rig: Rig) -> None:
    worker = await registered(rig)
    for _ in range(30):
        await rig.store.enqueue(new_task(endpoint="embeddings", rank=1.0), None)
    [chat] = await enqueue(rig)
    lanes = [want(LANE, worker.llm, ["chat/completions"])]
    assert [each.task_id for each in await worker.claim(lanes, free=1)] == [chat]


async def test_a_task_in_its_back_off_is_not_claimed(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.retry(retry(worker.says(task_id), delay=MINUTE))
    before = await row_of(rig, task_id)
    assert await worker.claim() == []
    assert await row_of(rig, task_id) == before


async def test_a_task_in_its_back_off_does_not_stand_in_the_way(rig: Rig) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    await rig.store.retry(retry(worker.says(task_id), delay=MINUTE))
    ready = new_task(rank=2.0)
    await rig.store.enqueue(ready, None)
    assert [each.task_id for each in await worker.claim(free=1)] == [ready.id]


async def test_lanes_take_turns(rig: Rig) -> None:
    worker = await registered(rig)
    pool = await enqueue(rig, 4)
    pinned = await enqueue(rig, 4, lane="llm:qwen@a")
    lanes = [want(LANE, worker.llm), want("llm:qwen@a", worker.llm)]
    taken = await worker.claim(lanes, free=4)
    assert {each.task_id for each in taken} == {*pool[:2], *pinned[:2]}


async def test_a_lane_alone_takes_every_turn(rig: Rig) -> None:
    worker = await registered(rig)
    waiting = await enqueue(rig, 3)
    lanes = [want("llm:qwen@a", worker.llm), want(LANE, worker.llm)]
    assert [each.task_id for each in await worker.claim(lanes)] == waiting


async def test_turns_are_remembered_from_claim_to_claim(rig: Rig) -> None:
    worker, turns = await registered(rig), Turns()
    await enqueue(rig, 4)
    await enqueue(rig, 4, lane="llm:qwen@a")
    lanes = [want(LANE, worker.llm), want("llm:qwen@a", worker.llm)]
    took = [await rig.store.claim(worker.claim_of(lanes, free=1, turns=turns)) for _ in range(4)]
    assert Counter(each.lane for [each] in took) == {LANE: 2, "llm:qwen@a": 2}


async def test_a_lane_of_a_heavier_class_gets_more_turns(rig: Rig) -> None:
    worker = await registered(rig)
    for _ in range(10):
        await rig.store.enqueue(new_task(priority="priority"), None)
        await rig.store.enqueue(new_task("llm:qwen@a", priority="default"), None)
    lanes = [want(LANE, worker.llm), want("llm:qwen@a", worker.llm)]
    taken = await worker.claim(lanes, free=10)
    assert Counter(each.lane for each in taken) == {LANE: 8, "llm:qwen@a": 2}


async def test_two_llms_of_an_engine_are_claimed_for_by_name(rig: Rig) -> None:
    worker = await registered(rig)
    await enqueue(rig, 1, lane="pool:x")
    await enqueue(rig, 1, lane="pool:y")
    taken = await worker.claim([want("pool:x", "x@a"), want("pool:y", "y@a")])
    assert {each.lane: each.llm_name for each in taken} == {"pool:x": "x@a", "pool:y": "y@a"}
    rows = [await row_of(rig, each.task_id) for each in taken]
    assert {row.lane: row.claimed_llm for row in rows} == {"pool:x": "x@a", "pool:y": "y@a"}


async def test_two_llms_in_one_lane_take_what_each_has_an_endpoint_for(rig: Rig) -> None:
    worker = await registered(rig)
    tasks = [new_task(endpoint=endpoint) for endpoint in ("embeddings", "chat/completions", "rerank", "embeddings")]
    for task in tasks:
        await rig.store.enqueue(task, None)
    lanes = [want(LANE, "chat@a", ["chat/completions"]), want(LANE, "embed@a", ["embeddings"])]
    taken = await worker.claim(lanes, free=2)
    assert [(each.task_id, each.llm_name) for each in taken] == [(tasks[0].id, "embed@a"), (tasks[1].id, "chat@a")]


async def test_a_task_that_two_llms_could_take_is_taken_once(rig: Rig) -> None:
    worker = await registered(rig)
    waiting = await enqueue(rig, 3)
    taken = await worker.claim([want(LANE, "x@a"), want(LANE, "y@a")], free=5)
    assert [each.task_id for each in taken] == waiting
    assert [(await row_of(rig, task_id)).attempt for task_id in waiting] == [1, 1, 1]


def stale_epoch(claim: Claim) -> Claim:
    return msgspec.structs.replace(claim, epoch=claim.epoch - 1)


def next_epoch(claim: Claim) -> Claim:
    return msgspec.structs.replace(claim, epoch=claim.epoch + 1)


def at_another_server(claim: Claim) -> Claim:
    return msgspec.structs.replace(claim, server_id=SECOND_SERVER)


def of_nobody(claim: Claim) -> Claim:
    return msgspec.structs.replace(claim, session_id=SessionId(new_id()))


@pytest.mark.parametrize("change", [stale_epoch, next_epoch, at_another_server, of_nobody])
async def test_a_session_that_moved_claims_nothing(rig: Rig, change: Callable[[Claim], Claim]) -> None:
    worker = await registered(rig)
    [task_id] = await enqueue(rig)
    assert await rig.store.claim(change(worker.claim_of())) == []
    assert (await row_of(rig, task_id)).attempt == 0


async def test_a_leaving_session_claims_nothing(rig: Rig) -> None:
    worker = await registered(rig)
    await enqueue(rig)
    await rig.store.leave(worker.id, worker.epoch)
    assert await worker.claim() == []


async def test_an_inactive_session_claims_nothing(rig: Rig) -> None:
    worker = await registered(rig)
    await enqueue(rig)
    await worker.lose()
    assert await worker.claim() == []


async def drain(worker: Worker, free: int) -> list[str]:
    """All that the worker gets, a claim at a time, until one comes back empty."""
    taken: list[str] = []
    while batch := await worker.claim(free=free):
        taken += [each.task_id for each in batch]
    return taken


@pytest.mark.parametrize("rig", sorted(RACING), indirect=True)
async def test_two_workers_of_a_pool_get_each_task_exactly_once(rig: Rig) -> None:
    first, second = await registered(rig), await registered(rig, "b")
    waiting = await enqueue(rig, 120)
    drains = [drain(worker, free) for free in (1, 2, 3) for worker in (first, second)]
    taken = [task_id for each in await asyncio.gather(*drains) for task_id in each]
    assert sorted(taken) == sorted(waiting)
    rows = [await row_of(rig, task_id) for task_id in waiting]
    assert {row.attempt for row in rows} == {1}
    assert {row.claimed_by for row in rows} == {first.id, second.id}


@pytest.mark.parametrize("rig", sorted(RACING), indirect=True)
async def test_tasks_enqueued_amid_claims_are_claimed_once(rig: Rig) -> None:
    workers = [await registered(rig), await registered(rig, "b")]
    tasks = [new_task() for _ in range(40)]
    enqueues = [rig.store.enqueue(task, None) for task in tasks]
    claims = [worker.claim(free=2) for _ in range(15) for worker in workers]
    mixed = [each for pair in zip(enqueues, claims, strict=False) for each in pair]
    await asyncio.gather(*mixed, *enqueues[len(claims) :])
    for worker in workers:
        await drain(worker, 10)
    rows = [await row_of(rig, task.id) for task in tasks]
    assert {(row.status, row.attempt) for row in rows} == {(Status.CLAIMED, 1)}
