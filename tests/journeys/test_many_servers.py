"""Journeys of callers at one server whose workers are at another."""

import asyncio

import pytest

from tests.engines.directives import answer_to
from tests.journeys.cluster import Cluster, Member, models_at
from tests.journeys.ledger import text_of, text_of_chunks
from tests.journeys.processes import PATIENCE_S
from tests.journeys.watching import Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.journey]


@pytest.fixture
async def pair(joined: Cluster) -> tuple[Member, Member]:
    """Two servers, one worker at the first; the engine has forgotten the calls of other journeys."""
    near, far = joined.members
    await near.forget_engine_calls()
    return near, far


async def test_a_call_at_one_server_is_answered_by_the_worker_of_another(pair: tuple[Member, Member]) -> None:
    _, far = pair
    status, body = await far.call("say 7 words")
    assert (status, text_of(body)) == (200, answer_to("say 7 words"))
    row = await far.ended(await far.enqueue("say 3 words"))
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)


async def test_chunks_reach_another_server_one_by_one_long_before_the_end(pair: tuple[Member, Member]) -> None:
    near, far = pair
    text = "say 6 words gate second after 3"
    task_id = await far.enqueue(text, stream=True)
    watcher = Watcher(far, task_id)
    await watcher.follow(most=4)  # the role, then three words: the fourth waits at the gate
    assert text_of_chunks(watcher.sight.chunks).split() == answer_to(text).split()[:3]
    await near.open_gate("second")
    await watcher.follow()
    assert (watcher.sight.resets, watcher.sight.connections) == (0, 2)
    assert text_of_chunks(watcher.sight.chunks) == answer_to(text)


async def test_a_blocked_stream_at_another_server_ends_with_its_last_chunk(pair: tuple[Member, Member]) -> None:
    _, far = pair
    status, body = await far.call("say 40 words", stream=True)
    assert status == 200
    chunks = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: {")]
    assert text_of_chunks(chunks) == answer_to("say 40 words")
    assert body.rstrip().endswith(b"data: [DONE]")


async def test_watchers_at_every_server_see_the_same_stream(pair: tuple[Member, Member]) -> None:
    near, far = pair
    text = "say 30 words gate all"
    task_id = await near.enqueue(text, stream=True)
    watchers = [Watcher(member, task_id) for member in (near, far, far)]
    following = [asyncio.create_task(watcher.follow()) for watcher in watchers]
    for watcher in watchers:
        await watcher.connected.wait()
    await near.engine_waits("waiting")
    await near.open_gate("all")
    await asyncio.gather(*following)
    late = Watcher(far, task_id)
    await late.follow()
    assert {text_of_chunks(watcher.sight.chunks) for watcher in [*watchers, late]} == {answer_to(text)}


async def test_a_cancel_at_one_server_stops_the_engine_behind_another(pair: tuple[Member, Member]) -> None:
    near, far = pair
    task_id = await near.enqueue("say 3 words gate cancelled", stream=True)
    watcher = Watcher(near, task_id)
    following = asyncio.create_task(watcher.follow())
    await watcher.connected.wait()
    await near.engine_waits("waiting")
    status, row = await far.ask("DELETE", f"/api/v1/inference-tasks/{task_id}")
    assert (status, row["status"]) == (200, "cancelled")
    near.ledger.failing[task_id] = "cancelled"
    await near.engine_waits("cancelled")
    await following
    assert watcher.sight.end == "cancelled"
    status, body = await far.call("say 2 words")  # the one slot is free again
    assert (status, text_of(body)) == (200, answer_to("say 2 words"))


async def test_a_caller_that_leaves_its_server_stops_the_engine_behind_another(pair: tuple[Member, Member]) -> None:
    near, far = pair
    call = asyncio.create_task(far.call("say 3 words gate left"))
    await near.engine_waits("waiting")
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await near.engine_waits("cancelled")
    [(task_id, status)] = near.rows("SELECT id, status FROM tasks ORDER BY id DESC LIMIT 1")
    assert status == "cancelled"
    near.ledger.failing[str(task_id)] = "cancelled"


async def test_a_call_that_will_not_queue_knows_the_sessions_of_all_servers(cluster: Cluster) -> None:
    near, far = await cluster.start()
    worker = await near.start_worker()
    await cluster.known()
    async with asyncio.timeout(PATIENCE_S):
        while await called(far, "never") == 503:
            pass  # which slots are free is told once a poll
    assert await called(far, "live") == 200
    await worker.kill()
    async with asyncio.timeout(PATIENCE_S):
        while await models_at(far):
            pass
    assert [await called(far, mode) for mode in ("never", "live")] == [503, 503]
    await cluster.check_laws()
    await cluster.leave()


async def called(member: Member, mode: str) -> int:
    """The status of a call that would rather not wait."""
    request = {"model": "words", "messages": [{"role": "user", "content": "say 3 words"}]}
    status, _ = await member.ask("POST", "/v1/chat/completions", request, Inferpool_Queue=mode)
    return status


async def test_every_server_lists_the_llms_with_the_pools_of_all(pair: tuple[Member, Member]) -> None:
    near, far = pair
    listed = [[await member.ask("GET", path) for member in (near, far)] for path in ("/v1/models", "/api/v1/llms")]
    assert listed[0][0] == listed[0][1]
    assert listed[1][0] == listed[1][1]
    status, pools = await far.ask("GET", "/api/v1/pools")
    data = pools["data"]
    assert isinstance(data, list)
    assert (status, [pool["name"] for pool in data]) == (200, ["words"])


async def test_a_waiting_task_has_its_place_in_the_line_at_every_server(pair: tuple[Member, Member]) -> None:
    near, far = pair
    await near.enqueue("say 1 words gate first")
    await near.engine_waits("waiting")
    waiting = [await member.enqueue(f"say {number} words") for number, member in enumerate((near, far, near), 2)]
    places = [
        [(await member.ask("GET", f"/api/v1/inference-tasks/{task_id}"))[1]["queue_position"] for task_id in waiting]
        for member in (near, far)
    ]
    assert places[0] == places[1]
    assert sorted(map(str, places[0])) == ["1", "2", "3"]
    await near.open_gate("first")
    for task_id in waiting:
        await far.ended(task_id)
