"""The worker is stopped past its grace, or its cable is cut: what it has is taken up, unless another took it over."""

import asyncio
import json
import signal

import pytest

from tests.engines.directives import answer_to
from tests.journeys.cable import cable_to
from tests.journeys.ledger import text_of_chunks
from tests.journeys.looks import held
from tests.journeys.processes import Program
from tests.journeys.site import Site
from tests.journeys.watching import Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

GATED = "say 6 words gate late after 3"


async def start_answering(site: Site, **settings: str) -> tuple[Program, str, Watcher]:
    """A whole site whose worker is half-way through an answer; a watcher has seen a part of it."""
    await asyncio.gather(site.start_engine(), site.start_server(**settings))
    worker = await site.start_worker()
    task_id = await site.enqueue(GATED, stream=True)
    watcher = Watcher(site, task_id)
    await watcher.follow(most=2)
    await site.engine_waits("waiting")
    return worker, task_id, watcher


async def stop_past_the_grace(site: Site, worker: Program) -> None:
    """The worker is silent until its session is lost."""
    assert site.server is not None
    worker.signal(signal.SIGSTOP)
    await worker.stops()
    await site.server.says("session lost")


async def history(site: Site, task_id: str) -> list[tuple[object, object, object]]:
    """Of each attempt: its number, how it ended, whether it cost a try."""
    return [(one["attempt"], one["ending"], one["counted"]) for one in await site.attempts(task_id)]


async def test_stopped_past_the_grace_it_is_adopted_when_nobody_claimed_since(site: Site) -> None:
    worker, task_id, watcher = await start_answering(site, silence_s="1.5", grace_s="1")
    ((session_id,),) = site.rows("SELECT claimed_by FROM tasks")
    await stop_past_the_grace(site, worker)
    assert site.standing(task_id) == ("pending", 1, 1)
    assert site.rows("SELECT lost_by, claimed_by FROM tasks") == [(session_id, None)]

    heard = len(worker.lines)
    worker.signal(signal.SIGCONT)
    await worker.says("linked to the server", after=heard)
    assert site.rows("SELECT lost_by, claimed_by FROM tasks") == [(None, session_id)]
    assert held(site, task_id) == (1, 0)
    assert await history(site, task_id) == []

    await site.open_gate("late")
    row = await site.ended(task_id)
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
    assert await history(site, task_id) == [(1, "completed", False)]
    assert len(await site.engine_calls()) == 1
    await watcher.follow()
    assert (watcher.sight.attempt, watcher.sight.resets) == (1, 0)
    assert text_of_chunks(watcher.sight.chunks) == answer_to(GATED)
    await site.conclude()


async def test_stopped_until_a_sibling_claimed_it_is_refused_then_drops_so_nothing_of_it_is_shown(site: Site) -> None:
    worker, task_id, watcher = await start_answering(site, silence_s="1.5", grace_s="1")
    watching = asyncio.create_task(watcher.follow())
    await stop_past_the_grace(site, worker)
    await site.start_worker("sibling")
    await site.engine_waits("waiting", 2)
    assert site.rows("SELECT attempt, tries, worker_name FROM tasks JOIN sessions ON sessions.id = claimed_by") == [
        (2, 1, "sibling")
    ]
    assert await say_as("box", site, {"type": "chunk", "task_id": task_id, "attempt": 1, "seq": 9, "data": "{}"}) == (
        409,
        "session_inactive",
    )

    heard = len(worker.lines)
    worker.signal(signal.SIGCONT)
    await worker.says("linked to the server", after=heard)
    await site.engine_waits("cancelled")
    assert await history(site, task_id) == [(1, "reverted", True)]

    await site.open_gate("late")
    row = await site.ended(task_id)
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 2, 1)
    assert await history(site, task_id) == [(1, "reverted", True), (2, "completed", False)]
    await watching
    assert (watcher.sight.attempt, watcher.sight.resets) == (2, 1)
    assert text_of_chunks(watcher.sight.chunks) == answer_to(GATED)
    assert site.rows("SELECT attempt FROM chunks") == [(2,)]
    assert [call["cancelled"] for call in await site.engine_calls()] == [True, False]
    await site.conclude()


async def say_as(name: str, site: Site, *events: dict[str, object]) -> tuple[int, object]:
    """What the server answers when the worker of this name speaks: the status, the code of its refusal."""
    state = json.loads((site.folder / "state" / f"worker-{name}" / "state.json").read_bytes())
    status, answer = await site.ask(
        "POST",
        f"/api/v1/sessions/{state['session_id']}/events",
        {"events": list(events)},
        Inferpool_Session_Secret=state["secret"],
        Inferpool_Session_Epoch=str(state["epoch"]),
    )
    error = answer.get("error")
    return status, error["code"] if isinstance(error, dict) else None


async def test_a_channel_that_comes_back_within_the_grace_costs_neither_a_computation_nor_a_try(site: Site) -> None:
    await asyncio.gather(site.start_engine(), site.start_server(grace_s="20"))
    async with cable_to(site.server_url) as (cable, url):
        worker = await site.start_worker(via=url)
        task_id = await site.enqueue(GATED, stream=True)
        watcher = Watcher(site, task_id)
        await watcher.follow(most=2)
        await site.engine_waits("waiting")
        watching = asyncio.create_task(watcher.follow())

        heard = len(worker.lines)
        cable.cut()
        await worker.says("not registered yet", after=heard)
        await site.open_gate("late")
        await site.engine_waits("finished")
        assert held(site, task_id) == (1, 0)

        cable.mend()
        await worker.says("linked to the server", after=heard)
        row = await site.ended(task_id)
        assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
        assert site.rows("SELECT epoch > 1 FROM sessions") == [(1,)]
        assert await history(site, task_id) == [(1, "completed", False)]
        assert len(await site.engine_calls()) == 1
        await watching
        assert (watcher.sight.connections, watcher.sight.resets) == (2, 0)
        assert text_of_chunks(watcher.sight.chunks) == answer_to(GATED)
        await site.conclude()
