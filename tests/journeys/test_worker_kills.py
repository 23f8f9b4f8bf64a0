"""The worker is killed with `kill -9` at each place of an answer's way; nothing is lost, nothing shown twice."""

import asyncio
import json
import signal

import pytest

from tests.engines.directives import answer_to
from tests.journeys.cluster import on_both
from tests.journeys.ledger import text_of_chunks
from tests.journeys.looks import held, outbox
from tests.journeys.processes import Program
from tests.journeys.site import Site
from tests.journeys.watching import Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.journey, on_both]


async def start_stopping(site: Site, failpoint: str, shelve_after_s: str = "0.05") -> Program:
    """A whole site whose worker will stop at the failpoint."""
    await asyncio.gather(site.start_engine(), site.start_server())
    return await site.start_worker(failpoint=failpoint, shelve_after_s=shelve_after_s)


async def endings(site: Site, task_id: str) -> list[tuple[object, object]]:
    """How the task's attempts ended, whether each cost a try."""
    return [(attempt["ending"], attempt["counted"]) for attempt in await site.attempts(task_id)]


async def test_killed_before_its_first_chunk_the_restarted_worker_answers_as_if_nothing_had_been(site: Site) -> None:
    worker = await start_stopping(site, "worker.before_first_chunk")
    task_id = await site.enqueue("say 5 words", stream=True)
    watcher = Watcher(site, task_id)
    watching = asyncio.create_task(watcher.follow())
    await watcher.connected.wait()
    await worker.stops()
    assert held(site, task_id) == (1, 0)
    assert len(await site.engine_calls()) == 1

    await worker.kill()
    assert watcher.sight.chunks == []
    await site.start_worker()
    row = await site.ended(task_id)
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 2, 1)
    assert await endings(site, task_id) == [("reverted", True), ("completed", False)]
    await watching
    assert (watcher.sight.attempt, watcher.sight.resets) == (2, 0)
    await site.conclude()


async def test_killed_mid_stream_a_sibling_answers_and_the_watcher_is_told_to_begin_anew(site: Site) -> None:
    worker = await start_stopping(site, "worker.after_chunk:8")
    task_id = await site.enqueue("say 12 words every 20 ms", stream=True)
    watcher = Watcher(site, task_id)
    await watcher.follow(most=2)
    await worker.stops()
    assert held(site, task_id) == (1, 0)
    watching = asyncio.create_task(watcher.follow())

    await worker.kill()
    await site.start_worker("sibling")
    row = await site.ended(task_id)
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 2, 1)
    assert await endings(site, task_id) == [("reverted", True), ("completed", False)]
    await watching
    assert (watcher.sight.attempt, watcher.sight.resets) == (2, 1)
    assert text_of_chunks(watcher.sight.chunks) == answer_to("say 12 words every 20 ms")
    await site.conclude()


async def test_killed_before_it_read_the_answer_to_its_result_the_restarted_worker_drops_it(site: Site) -> None:
    worker = await start_stopping(site, "worker.after_send", shelve_after_s="0")
    task_id = await site.enqueue("say 5 words", stream=True)
    await worker.stops()
    assert site.standing(task_id) == ("completed", 1, 0)
    before = site.rows("SELECT * FROM tasks")
    assert [path.name for path in outbox(site)] == [f"{task_id}.1.result"]

    await worker.kill()
    again = await site.start_worker()
    again.signal(signal.SIGTERM)  # it leaves once its outbox is empty
    assert await again.ended() == 0
    assert outbox(site) == []
    assert site.rows("SELECT * FROM tasks") == before
    assert await endings(site, task_id) == [("completed", False)]
    assert len(await site.engine_calls()) == 1
    await site.conclude()


@pytest.mark.parametrize("server_is", ["killed", "stopped"])
async def test_killed_with_a_result_in_its_outbox_the_restarted_worker_delivers_it_from_disk(
    site: Site, server_is: str
) -> None:
    worker = await start_stopping(site, "worker.after_result")
    task_id = await site.enqueue("say 6 words gate late after 3", stream=True)
    await site.engine_waits("waiting")
    watcher = Watcher(site, task_id)
    await watcher.follow(most=2)
    await silence_server(site, server_is)
    await site.open_gate("late")
    await worker.stops()
    assert held(site, task_id) == (1, 0)
    (shelved,) = outbox(site)
    assert len(json.loads(shelved.read_bytes())["chunks"]) > len(watcher.sight.chunks)

    await worker.kill()
    await revive_server(site, server_is)
    await site.start_worker()
    row = await site.ended(task_id)
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
    assert await endings(site, task_id) == [("completed", False)]
    assert len(await site.engine_calls()) == 1
    await watcher.follow()
    assert text_of_chunks(watcher.sight.chunks) == answer_to("say 6 words gate late after 3")
    assert watcher.sight.resets == 0
    await site.conclude()


async def silence_server(site: Site, how: str) -> None:
    """Kill or stop the server."""
    assert site.server is not None
    if how == "killed":
        await site.server.kill()
    else:
        site.server.signal(signal.SIGSTOP)
        await site.server.stops()


async def revive_server(site: Site, how: str) -> None:
    """Start it again, or let it go on."""
    assert site.server is not None
    if how == "killed":
        await site.start_server()
    else:
        site.server.signal(signal.SIGCONT)


async def test_a_task_that_kills_three_workers_ends_as_worker_lost(site: Site) -> None:
    worker = await start_stopping(site, "worker.before_first_chunk")
    call = asyncio.create_task(site.call("say 5 words"))
    await worker.stops()
    [(found,)] = site.rows("SELECT id FROM tasks")
    task_id = str(found)
    for tries in range(3):
        assert held(site, task_id) == (tries + 1, tries)
        await worker.kill()
        if tries < 2:
            worker = await site.start_worker(failpoint="worker.before_first_chunk")
            await worker.stops()
    status, body = await call
    assert (status, json.loads(body)["error"]["code"]) == (502, "worker_lost")
    assert await endings(site, task_id) == [("reverted", True)] * 3
    row = await site.ended(task_id)
    assert (row["status"], row["attempt"], row["tries"]) == ("error", 3, 3)
    assert len(await site.engine_calls()) == 3
    site.ledger.failing[task_id] = "error"
    await site.conclude()
