"""The server is away for a while: what the workers finished meanwhile is delivered, what waited goes on by itself."""

import asyncio

import pytest

from tests.journeys.site import Site
from tests.journeys.watching import Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

FINISHED_AWAY = 20
PENDING = 1000
CALLERS = 50
"""Calls that are under way at once."""


async def enqueue_many(site: Site, texts: list[str]) -> None:
    """A number of callers at once, each with its share."""
    shares = [texts[first::CALLERS] for first in range(CALLERS)]
    await asyncio.gather(*[enqueue_all(site, share) for share in shares])


async def enqueue_all(site: Site, texts: list[str]) -> None:
    """One after the other."""
    for text in texts:
        await site.enqueue(text)


async def test_twenty_answers_that_finish_while_the_server_is_away_are_delivered_once_each(site: Site) -> None:
    await site.start(slots=FINISHED_AWAY)
    texts = [f"gate away as answer-{number}" for number in range(FINISHED_AWAY)]
    task_ids = [await site.enqueue(text, stream=number % 2 == 0) for number, text in enumerate(texts)]
    await site.engine_waits("waiting", FINISHED_AWAY)
    await site.kill_server()
    assert {site.standing(task_id)[1:] for task_id in task_ids} == {(1, 0)}
    await site.open_gate("away")
    await site.engine_waits("finished", FINISHED_AWAY)
    assert site.rows("SELECT status FROM tasks WHERE status = 'completed'") == []
    await site.start_server()
    for task_id in task_ids:
        row = await site.ended(task_id)
        assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
    watchers = [Watcher(site, task_id) for task_id in task_ids[::2]]
    await asyncio.gather(*[watcher.follow() for watcher in watchers])
    assert len(site.rows("SELECT attempt FROM attempts")) == FINISHED_AWAY
    assert len(await site.engine_calls()) == FINISHED_AWAY
    await site.conclude()


async def test_a_thousand_pending_tasks_complete_after_a_restart_without_help(site: Site) -> None:
    await site.start(slots=8)
    await enqueue_all(site, [f"gate full as running-{number}" for number in range(8)])
    await site.engine_waits("waiting", 8)
    await enqueue_many(site, [f"say 2 words as waiting-{number}" for number in range(PENDING)])
    await site.kill_server()
    assert site.rows("SELECT status, count(*) FROM tasks WHERE attempt = 0 GROUP BY status") == [("pending", PENDING)]
    await site.start_server()
    await site.open_gate("full")
    await site.engine_waits("finished", PENDING + 8)
    for (task_id,) in site.rows("SELECT id FROM tasks WHERE completed_at IS NULL"):
        await site.ended(str(task_id))
    ends = site.rows("SELECT status, attempt, tries, count(*) FROM tasks GROUP BY status, attempt, tries")
    assert ends == [("completed", 1, 0, PENDING + 8)]
    assert len(await site.engine_calls()) == PENDING + 8
    await site.conclude()
