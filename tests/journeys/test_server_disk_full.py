"""The server's disk is full: calls are refused, nothing is corrupted, all goes on by itself once there is room.

The trick that needs no rights: `prlimit` sets the running server's RLIMIT_FSIZE to one byte, so that the system refuses every
write into a file of it (with EFBIG where a full disk says ENOSPC; SQLite takes both for a write that failed).
"""

import asyncio
import resource

import pytest

from tests.journeys.fleet import POOL
from tests.journeys.site import Site
from tests.journeys.watching import Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

REFUSED = 8


def set_room(site: Site, size: int) -> None:
    """The largest file that the server may write from now on, in bytes."""
    assert site.server is not None
    hard = resource.prlimit(site.server.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(site.server.pid, resource.RLIMIT_FSIZE, (size, hard))


async def refused_call(site: Site, number: int) -> None:
    """A call while there is no room."""
    body = {"request": {"model": POOL, "messages": [{"role": "user", "content": f"refused {number}"}]}}
    status, problem = await site.ask("POST", "/api/v1/inference-tasks", body)
    assert (status, problem_code(problem)) == (503, "store_unavailable")


def problem_code(problem: dict[str, object]) -> object:
    """The stable code of an error."""
    error = problem["error"]
    assert isinstance(error, dict)
    return error["code"]


async def test_a_full_disk_refuses_calls_corrupts_nothing_recovers_by_itself(site: Site) -> None:
    await site.start()
    before = await site.enqueue("gate full say 20 words", stream=True)
    blocked = asyncio.create_task(site.call("gate full as blocked"))
    watcher = Watcher(site, before)
    following = asyncio.create_task(watcher.follow())
    await site.engine_waits("waiting", 2)
    await watcher.connected.wait()
    rows = site.rows("SELECT count(*) FROM tasks")

    set_room(site, 1)
    await asyncio.gather(*[refused_call(site, number) for number in range(REFUSED)])
    assert (await site.ask("GET", "/readyz"))[0] == 200
    assert (await site.ask("GET", f"/api/v1/inference-tasks/{before}"))[0] == 200
    assert site.rows("SELECT count(*) FROM tasks") == rows
    await site.open_gate("full")
    await site.engine_waits("finished", 2)
    await refused_call(site, REFUSED)
    assert not blocked.done()
    await site.check_laws()

    set_room(site, resource.RLIM_INFINITY)
    assert (await blocked)[0] == 200
    await following
    assert (await site.ended(before))["tries"] == 0
    after = await site.enqueue("say 5 words")
    assert (await site.ended(after))["status"] == "completed"
    assert len(await site.engine_calls()) == 3
    await site.conclude()  # it fails for a row of a call that was refused
