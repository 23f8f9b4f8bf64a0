"""Journeys of workers that change servers, or speak to two at once; of servers that die under their sessions."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.engines.directives import answer_to
from tests.journeys.cluster import Cluster, Member
from tests.journeys.crossing import crossing
from tests.journeys.ledger import text_of, text_of_chunks
from tests.journeys.watching import Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

LONG_GRACE = {"grace_s": "20", "dead_s": "2"}
"""However slow the machine, a worker finds its next server in time."""
RESCUING = {"grace_s": "1", "dead_s": "2"}


@pytest.fixture
async def crossed(cluster: Cluster) -> AsyncIterator[tuple[Member, Member]]:
    """A worker with one slot whose channel is at the first server while all else that it says goes to the second."""
    near, far = await cluster.start()
    async with crossing(cluster.http, lambda path: (near if path.endswith("/channel") else far).server_url) as address:
        await near.start_worker(slots=1, via=address)
        await cluster.known()
        yield near, far
        await cluster.conclude()


async def test_an_uplink_at_another_server_than_the_channel_brings_everything(crossed: tuple[Member, Member]) -> None:
    near, far = crossed
    for number, member in enumerate([near, far] * 5):
        status, body = await member.call(f"say {number} words")
        assert (status, text_of(body)) == (200, answer_to(f"say {number} words"))
    await streams_to_both(near, far)
    await cancels(near, far)
    assert {row[0] for row in near.rows("SELECT tries FROM tasks")} == {0}


async def streams_to_both(near: Member, far: Member) -> None:
    """Chunks reach both servers in their order, those before a pause without waiting for its end."""
    text = "say 30 words gate half after 15"
    task_id = await near.enqueue(text, stream=True)
    watchers = [Watcher(member, task_id) for member in (near, far)]
    for watcher in watchers:
        await watcher.follow(most=16)
    await near.open_gate("half")
    for watcher in watchers:
        await watcher.follow()
        assert text_of_chunks(watcher.sight.chunks) == answer_to(text)


async def cancels(near: Member, far: Member) -> None:
    """A cancel by way of either stops the engine; the slot is free again."""
    for number, member in enumerate((near, far), 1):
        task_id = await far.enqueue(f"say 2 words gate never-{number}")
        await near.engine_waits("waiting", number + 1)
        await member.ask("DELETE", f"/api/v1/inference-tasks/{task_id}")
        near.ledger.failing[task_id] = "cancelled"
        await near.engine_waits("cancelled", number)
    status, _ = await far.call("say 1 words")
    assert status == 200


async def test_killed_under_its_worker_a_server_costs_nothing_that_was_computed(cluster: Cluster) -> None:
    near, far, third = await cluster.start(3, LONG_GRACE)
    await near.start_worker(via=[near.server_url, far.server_url])
    await cluster.known()
    text = "say 20 words gate half after 10"
    task_id = await third.enqueue(text, stream=True)
    watchers = [Watcher(member, task_id) for member in (far, third)]
    for watcher in watchers:
        await watcher.follow(most=11)
    following = [asyncio.create_task(watcher.follow()) for watcher in watchers]
    call = asyncio.create_task(third.call("say 3 words gate blocked"))
    await near.engine_waits("waiting", 2)
    await near.kill_server()
    await registered_at(cluster, far, epoch=2)
    await near.open_gate("blocked")
    await near.open_gate("half")
    status, body = await call
    assert (status, text_of(body)) == (200, answer_to("say 3 words gate blocked"))
    await asyncio.gather(*following)
    for watcher in watchers:
        assert (watcher.sight.resets, text_of_chunks(watcher.sight.chunks)) == (0, answer_to(text))
    await once_each(cluster)
    await cluster.conclude()


async def test_what_a_killed_server_with_its_killed_worker_held_is_done_by_another(cluster: Cluster) -> None:
    near, far = await cluster.start(2, RESCUING)
    worker = await near.start_worker()
    await cluster.known()
    task_ids = [
        await far.enqueue(f"say 3 words as task-{number} gate once times 1", stream=True) for number in range(3)
    ]
    watcher = Watcher(far, task_ids[0])
    following = asyncio.create_task(watcher.follow())
    await near.engine_waits("waiting", 3)
    await asyncio.gather(worker.kill(), near.kill_server())
    await far.start_worker("other")
    for task_id in task_ids:
        row = await far.ended(task_id)
        assert (row["status"], row["attempt"], row["tries"]) == ("completed", 2, 0)
    await following
    await cluster.conclude()


async def test_a_server_that_ends_in_order_hands_its_worker_over_with_all_that_runs(cluster: Cluster) -> None:
    near, far = await cluster.start(2, {**LONG_GRACE, "drain_s": "0.1"})
    await near.start_worker(via=[near.server_url, far.server_url])
    await cluster.known()
    texts = [f"say 4 words as task-{number} gate over" for number in range(4)]
    task_ids = [await far.enqueue(text, stream=number % 2 == 0) for number, text in enumerate(texts)]
    await near.engine_waits("waiting", 4)
    await near.stop()
    await registered_at(cluster, far, epoch=2)
    await near.open_gate("over")
    for task_id in task_ids:
        row = await far.ended(task_id)
        assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
    await once_each(cluster)
    await cluster.conclude()


async def registered_at(cluster: Cluster, member: Member, epoch: int) -> None:
    """Until the worker is bound there under that epoch."""
    assert member.server is not None
    await member.server.says("session registered")
    while cluster.rows("SELECT id FROM sessions WHERE active = 1 AND bound_epoch >= ?", epoch) == []:
        pass


async def once_each(cluster: Cluster) -> None:
    """The engine was asked everything once."""
    counts = Counter(str(call["directive"]) for call in await cluster.members[0].engine_calls())
    assert {text: count for text, count in counts.items() if count > 1} == {}
