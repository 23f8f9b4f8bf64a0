"""The journey of two hundred sessions at three servers, one of which is killed."""

import asyncio
from collections import Counter

import aiohttp
import pytest

from tests.journeys.cluster import Cluster
from tests.journeys.scripted_session import SLOTS, ScriptedSession

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

SESSIONS = 200
SERVERS = 3
TASKS = SESSIONS * SLOTS
GRACE_S = 30.0
PATIENCE_S = 120.0
CALM = {"grace_s": str(GRACE_S), "dead_s": "3", "heartbeat_s": "2", "silence_s": "30", "ping_s": "2", "poll_s": "0.5"}


async def enqueue(cluster: Cluster, numbers: range) -> None:
    """Each task at one of the servers, in turn."""
    for number in numbers:
        await cluster.members[number % SERVERS].enqueue(f"say 2 words as t-{number}")


async def all_held(sessions: list[ScriptedSession]) -> None:
    """Until every slot is taken."""
    while sum(len(session.held) for session in sessions) < TASKS:
        await asyncio.wait([asyncio.ensure_future(session.bound.wait()) for session in sessions])


async def test_when_one_of_three_servers_dies_its_sessions_go_on_elsewhere_without_loss(cluster: Cluster) -> None:
    for _ in range(SERVERS):
        await cluster.add(CALM)
    urls = [member.server_url for member in cluster.members]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, asyncio.timeout(PATIENCE_S):
        sessions = [ScriptedSession(http, urls, number) for number in range(SESSIONS)]
        running = [asyncio.create_task(session.run()) for session in sessions]
        await asyncio.gather(*[session.bound.wait() for session in sessions])
        await cluster.known()
        await asyncio.gather(*[enqueue(cluster, range(first, TASKS, 20)) for first in range(20)])
        await all_held(sessions)
        orphans = [session for session in sessions if session.server == 0]
        await cluster.members[0].kill_server()
        killed_at = asyncio.get_running_loop().time()
        while any(session.server == 0 or not session.bound.is_set() for session in orphans):
            await asyncio.gather(*[session.bound.wait() for session in orphans])
        assert asyncio.get_running_loop().time() - killed_at < GRACE_S
        for session in sessions:
            session.answer()
        for task_id in cluster.ledger.accepted:
            await cluster.members[1].ended(task_id)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert Counter(count for session in sessions for count in session.seen.values()) == {1: TASKS}
    assert cluster.rows("SELECT status, attempt, tries, count(*) FROM tasks GROUP BY 1, 2, 3") == [
        ("completed", 1, 0, TASKS)
    ]
    await cluster.conclude()
