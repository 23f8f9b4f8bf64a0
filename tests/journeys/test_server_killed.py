"""The server is killed with `kill -9` at each place of a call's way; a new one on the same file ends it right."""

import asyncio

import aiohttp
import pytest

from tests.engines.directives import answer_to
from tests.journeys.cluster import on_both
from tests.journeys.ledger import text_of_chunks
from tests.journeys.site import Site
from tests.journeys.watching import Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.journey, on_both]


async def start_stopping(site: Site, failpoint: str) -> None:
    """A whole site whose server will stop at the failpoint."""
    await site.start(failpoint=failpoint)


async def stopped(site: Site) -> None:
    """The server stands at its failpoint."""
    assert site.server is not None
    await site.server.stops()


async def killed(site: Site, call: "asyncio.Task[str] | asyncio.Task[tuple[int, bytes]]") -> None:
    """Kill the server under a call, which breaks; start the next one."""
    await site.kill_server()
    with pytest.raises(aiohttp.ClientError):
        await call
    await site.start_server()


async def endings(site: Site, task_id: str) -> list[tuple[object, object]]:
    """How the task's attempts ended, whether each cost a try."""
    return [(attempt["ending"], attempt["counted"]) for attempt in await site.attempts(task_id)]


async def test_killed_before_the_first_commit_nothing_is_kept_so_the_repeated_call_is_new(site: Site) -> None:
    await start_stopping(site, "enqueue.before_commit")
    call = asyncio.create_task(site.enqueue("say 3 words", key="once"))
    await stopped(site)
    assert site.rows("SELECT id FROM tasks") == []
    await killed(site, call)
    assert site.rows("SELECT id FROM tasks") == []
    task_id = await site.enqueue("say 3 words", key="once")
    await site.ended(task_id)
    assert await endings(site, task_id) == [("completed", False)]
    assert len(await site.engine_calls()) == 1
    site.ledger.unsure.clear()  # the broken call left no row of its own
    await site.conclude()


async def test_killed_after_the_commit_before_the_dispatch_the_task_runs_without_help(site: Site) -> None:
    await start_stopping(site, "enqueue.after_commit:2")
    first = await site.enqueue("say 1 words")
    await site.ended(first)  # by now nobody waits in the lane, so the next row is inserted as claimed
    call = asyncio.create_task(site.enqueue("say 3 words", key="once"))
    await stopped(site)
    [(task_id, status, attempt)] = site.rows("SELECT id, status, attempt FROM tasks WHERE id <> ?", first)
    assert (status, attempt) == ("claimed", 1)
    assert len(await site.engine_calls()) == 1
    await killed(site, call)
    row = await site.ended(str(task_id))
    assert row["status"] == "completed"
    assert row["tries"] in site.tries_of_a_restart
    assert await site.enqueue("say 3 words", key="once") == task_id
    assert await endings(site, str(task_id)) == [("reverted", row["tries"] == 1), ("completed", False)]
    assert len(await site.engine_calls()) == 2
    site.ledger.unsure.clear()
    await site.conclude()


async def test_killed_after_the_dispatch_the_worker_goes_on_with_the_same_attempt(site: Site) -> None:
    await start_stopping(site, "dispatch.after_frame")
    call = asyncio.create_task(site.call("gate late say 3 words"))
    await stopped(site)
    [(task_id, status, attempt)] = site.rows("SELECT id, status, attempt FROM tasks")
    assert (status, attempt) == ("claimed", 1)
    await site.engine_waits("waiting")
    await killed(site, call)
    await site.open_gate("late")
    row = await site.ended(str(task_id))
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
    assert await endings(site, str(task_id)) == [("completed", False)]
    assert len(await site.engine_calls()) == 1
    await site.conclude()


async def test_killed_in_mid_stream_a_watcher_resumes_without_loss_or_repeat(site: Site) -> None:
    await start_stopping(site, "stream.after_chunk:8")
    text = "say 40 words every 10 ms gate watched"
    task_id = await site.enqueue(text, stream=True)
    watcher = Watcher(site, task_id)
    following = asyncio.create_task(watcher.follow())
    await watcher.connected.wait()
    await site.open_gate("watched")
    await stopped(site)
    status, attempt, tries = site.standing(task_id)
    assert (status in {"claimed", "running"}, attempt, tries) == (True, 1, 0)
    assert site.rows("SELECT task_id FROM chunks") == site.rows("SELECT task_id FROM attempts") == []
    await site.kill_server()
    await following
    seen = len(watcher.sight.chunks)
    assert 0 < seen < 40
    await site.start_server()
    await watcher.follow()
    assert watcher.sight.resets == 0
    assert text_of_chunks(watcher.sight.chunks) == answer_to(text)
    late = Watcher(site, task_id)
    await late.follow()
    assert late.sight.chunks == watcher.sight.chunks
    assert await endings(site, task_id) == [("completed", False)]
    assert len(await site.engine_calls()) == 1
    await site.conclude()


async def test_killed_between_a_result_and_its_commit_the_worker_delivers_it_again(site: Site) -> None:
    await start_stopping(site, "uplink.before_commit")
    task_id = await site.enqueue("say 3 words")
    await stopped(site)
    assert site.standing(task_id) == ("claimed", 1, 0)
    assert site.rows("SELECT attempt FROM attempts") == []
    assert len(await site.engine_calls()) == 1
    await site.kill_server()
    await site.start_server()
    row = await site.ended(task_id)
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
    assert await endings(site, task_id) == [("completed", False)]
    assert len(await site.engine_calls()) == 1
    await site.conclude()


async def test_killed_after_a_results_commit_its_repeat_changes_nothing(site: Site) -> None:
    await start_stopping(site, "uplink.after_commit")
    call = asyncio.create_task(site.call("say 3 words"))
    await stopped(site)
    [(task_id, status, attempt)] = site.rows("SELECT id, status, attempt FROM tasks")
    assert (status, attempt) == ("completed", 1)
    before = site.rows("SELECT response, completed_at FROM tasks")
    assert before[0][0] is not None
    await killed(site, call)
    await site.ended(await site.enqueue("say 1 words"))  # what the worker says of it comes after the repeat
    assert site.rows("SELECT response, completed_at FROM tasks WHERE id = ?", str(task_id)) == before
    assert await endings(site, str(task_id)) == [("completed", False)]
    assert len(await site.engine_calls()) == 2
    await site.conclude()


async def test_killed_between_a_registration_and_its_answer_the_worker_registers_above_it(site: Site) -> None:
    await asyncio.gather(site.start_engine(), site.start_server(failpoint="register.after_commit"))
    worker = await site.start_worker(linked=False)
    await stopped(site)
    assert site.rows("SELECT epoch, active FROM sessions") == [(1, 1)]
    await site.kill_server()
    await site.start_server()
    await worker.says("linked to the server")
    [(epoch, active)] = site.rows("SELECT epoch, active FROM sessions")
    assert isinstance(epoch, int)
    assert (epoch > 1, active) == (True, 1)
    await site.ended(await site.enqueue("say 3 words"))
    await site.conclude()
