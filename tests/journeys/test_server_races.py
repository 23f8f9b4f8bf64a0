"""Journeys of two servers at one row: the first stands still in the middle until the second is done."""

import asyncio
import signal

import pytest

from tests.chaos.counts import parsed
from tests.engines.directives import answer_to
from tests.journeys.cluster import Cluster, Member
from tests.journeys.ledger import text_of
from tests.journeys.processes import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

BURST = 40
RESCUING = {"grace_s": "1", "dead_s": "2"}
UNHURRIED = {"dead_s": "60"}
"""A server that stands still does not count as dead."""


async def two(cluster: Cluster, near: dict[str, str], far: dict[str, str]) -> tuple[Member, Member]:
    """Two servers, each with settings of its own."""
    await cluster.start(1, near)
    await cluster.add(far)
    return cluster.members[0], cluster.members[1]


async def stopped(member: Member) -> None:
    """The server stands at its failpoint."""
    assert member.server is not None
    await member.server.stops()


def go_on(member: Member) -> None:
    """The server goes on from its failpoint."""
    assert member.server is not None
    member.server.signal(signal.SIGCONT)


async def refused(member: Member, reason: str) -> None:
    """Until the server has refused something that a worker said."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with member.http.get(f"{member.server_url}/metrics") as reply:
                counts = parsed(await reply.text())
            if counts.get(f'inferpool_attempts_refused_total{{reason="{reason}"}}'):
                return


def endings(cluster: Cluster, task_id: str) -> list[tuple[object, ...]]:
    """How the task's attempts ended."""
    return cluster.rows("SELECT attempt, ending FROM attempts WHERE task_id = ? ORDER BY attempt", task_id)


async def test_a_result_that_comes_after_its_rescue_changes_nothing(cluster: Cluster) -> None:
    near, far = await two(cluster, {**RESCUING, "failpoint": "end.before_store"}, RESCUING)
    worker = await near.start_worker()
    await cluster.known(far)
    task_id = await far.enqueue("say 3 words")
    await stopped(near)
    await worker.kill()
    await far.start_worker("other")
    await far.ended(task_id)
    before = cluster.rows("SELECT * FROM tasks")
    go_on(near)
    await refused(near, "stale")
    assert cluster.rows("SELECT * FROM tasks") == before
    assert endings(cluster, task_id) == [(1, "reverted"), (2, "completed")]
    await cluster.conclude()


async def test_of_two_rescuers_the_later_moves_nothing(cluster: Cluster) -> None:
    near, far = await two(cluster, RESCUING, {**RESCUING, "failpoint": "rescue.before_store"})
    third = await cluster.add(RESCUING)
    worker = await near.start_worker()
    await cluster.known()
    task_ids = [await third.enqueue(f"say 3 words as task-{number} gate both") for number in range(3)]
    await near.engine_waits("waiting", 3)
    await asyncio.gather(worker.kill(), near.kill_server())
    await stopped(far)
    await third.start_worker("other")
    await third.engine_waits("waiting", 6)
    go_on(far)
    await far.enqueue("say 1 words gate both")
    await third.engine_waits("waiting", 7)
    await third.open_gate("both")
    for task_id in task_ids:
        await far.ended(task_id)
        assert endings(cluster, task_id) == [(1, "reverted"), (2, "completed")]
    assert len(await third.engine_calls()) == 7
    for task_id in cluster.ledger.accepted:
        await third.ended(task_id)
    await cluster.conclude()


async def test_a_cancel_that_comes_after_the_result_finds_it(cluster: Cluster) -> None:
    near, far = await two(cluster, UNHURRIED, {**UNHURRIED, "failpoint": "cancel.before_store"})
    await near.start_worker()
    task_id = await near.enqueue("say 3 words gate late")
    await near.engine_waits("waiting")
    cancelling = asyncio.create_task(far.ask("DELETE", f"/api/v1/inference-tasks/{task_id}"))
    await stopped(far)
    await near.open_gate("late")
    await near.ended(task_id)
    go_on(far)
    status, row = await cancelling
    assert (status, row["status"]) == (200, "completed")
    assert endings(cluster, task_id) == [(1, "completed")]
    await cluster.conclude()


async def test_a_result_that_comes_after_the_cancel_is_refused(cluster: Cluster) -> None:
    near, far = await two(cluster, {**UNHURRIED, "failpoint": "end.before_store"}, UNHURRIED)
    await near.start_worker(slots=1)
    await cluster.known(far)
    call = asyncio.create_task(far.call("say 3 words"))
    await stopped(near)
    [(task_id,)] = cluster.rows("SELECT id FROM tasks")
    status, row = await far.ask("DELETE", f"/api/v1/inference-tasks/{task_id}")
    assert (status, row["status"]) == (200, "cancelled")
    cluster.ledger.failing[str(task_id)] = "cancelled"
    status, _ = await call
    assert status == 499
    go_on(near)
    await refused(near, "cancelled")
    assert endings(cluster, str(task_id)) == [(1, "cancelled")]
    status, body = await far.call("say 2 words")  # the one slot is free again
    assert (status, text_of(body)) == (200, answer_to("say 2 words"))
    await cluster.conclude()


async def test_a_claim_that_comes_after_the_cancel_takes_the_next(cluster: Cluster) -> None:
    near, far = await two(cluster, {**UNHURRIED, "failpoint": "claim.before_store"}, UNHURRIED)
    first = await far.start_worker("first")
    first.signal(signal.SIGTERM)
    await first.ended()
    cancelled, other = [await far.enqueue(text) for text in ("say 3 words", "say 4 words")]
    await near.start_worker("second", linked=False)
    await stopped(near)
    status, row = await far.ask("DELETE", f"/api/v1/inference-tasks/{cancelled}")
    assert (status, row["status"]) == (200, "cancelled")
    cluster.ledger.failing[cancelled] = "cancelled"
    go_on(near)
    await far.ended(other)
    assert [call["directive"] for call in await near.engine_calls()] == ["say 4 words"]
    await cluster.conclude()


async def test_a_task_of_which_its_server_died_before_it_told_is_found_by_the_poll(cluster: Cluster) -> None:
    near, far = await two(cluster, {}, {"failpoint": "bus.before_send:2", "poll_s": "3600"})  # the first is its tick
    await near.start_worker()
    await cluster.known(near)
    while await far.ask("GET", "/v1/models") != await near.ask("GET", "/v1/models"):
        pass
    enqueuing = asyncio.create_task(far.enqueue("say 3 words", key="once"))
    await stopped(far)
    await near.engine_waits("finished")
    await far.kill_server()
    await asyncio.gather(enqueuing, return_exceptions=True)
    task_id = await near.enqueue("say 3 words", key="once")
    await near.ended(task_id)
    assert endings(cluster, task_id) == [(1, "completed")]
    assert len(await near.engine_calls()) == 1
    cluster.ledger.unsure.clear()
    await cluster.conclude()


async def test_a_burst_while_nobody_can_listen_is_answered_by_the_polls(cluster: Cluster) -> None:
    near, far = await cluster.start()
    await near.start_worker(slots=BURST)
    await cluster.known()
    calls = [asyncio.create_task(far.call(f"say 9 words as burst-{number} gate now")) for number in range(BURST)]
    await near.engine_waits("waiting", BURST // 2)
    deafened = cluster.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND (query LIKE 'LISTEN%' OR query LIKE '%pg_notify%') AND pid <> pg_backend_pid()"
    )
    assert len(deafened) >= 2
    await near.open_gate("now")
    assert {status for status, _ in await asyncio.gather(*calls)} == {200}
    await cluster.conclude()
