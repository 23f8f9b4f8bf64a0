"""The journey of two workers of one pool that race for a thousand tasks."""

import asyncio
from collections import Counter

import pytest

from tests.journeys.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

TASKS = 1000
AT_ONCE = 50


async def test_two_workers_of_one_pool_race_for_1000_tasks_and_each_is_executed_once(site: Site) -> None:
    await site.start_engine()
    await site.start_server()
    for name in ("left", "right"):
        await site.start_worker(name, slots=16)
    prompts = [f"say 1 word as t-{number}" for number in range(TASKS)]
    accepted: list[str] = []
    for begin in range(0, TASKS, AT_ONCE):
        accepted += await asyncio.gather(*[site.enqueue(prompt) for prompt in prompts[begin : begin + AT_ONCE]])

    await site.engine_waits("finished", TASKS)
    rows = [row for task_id in accepted for row in [await site.ended(task_id)]]
    assert Counter(row["status"] for row in rows) == {"completed": TASKS}
    assert Counter((row["attempt"], row["tries"]) for row in rows) == {(1, 0): TASKS}
    assert Counter(call["directive"] for call in await site.engine_calls()) == Counter(prompts)
    assert len(set(accepted)) == TASKS
    shares = site.rows(
        "SELECT sessions.worker_name, count(*) FROM attempts JOIN sessions ON sessions.id = attempts.session_id"
        " GROUP BY sessions.worker_name ORDER BY sessions.worker_name"
    )
    assert [name for name, _ in shares] == ["left", "right"]
    assert min(int(str(count)) for _, count in shares) > TASKS // 10, shares
    await site.conclude()
