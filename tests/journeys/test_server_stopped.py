"""SIGTERM under load (spec section 9): accepted calls end well, new ones are refused, what still runs goes on."""

import asyncio
import signal

import aiohttp
import pytest

from tests.engines.directives import answer_to
from tests.journeys.cluster import on_both
from tests.journeys.ledger import text_of_chunks
from tests.journeys.site import Site
from tests.journeys.watching import Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.journey, on_both]

CALLERS = 6


async def keep_calling(site: Site, name: str) -> int:
    """Call after call until the server refuses; how many it answered. Any other end of a call is a failure."""
    answered = 0
    while True:
        try:
            status, body = await site.call(f"say 3 words every 2 ms as {name}-{answered}", stream=answered % 2 == 0)
        except aiohttp.ClientError:  # refused by the system; had there been a row, the ledger would say so
            return answered
        if status == 503:
            assert b'"shutting_down"' in body
            return answered
        assert status == 200, body
        answered += 1


async def terminate(site: Site) -> None:
    """SIGTERM to the server; it has begun to shut down when this returns."""
    assert site.server is not None
    site.server.signal(signal.SIGTERM)
    await site.server.says("draining")


async def test_no_accepted_call_fails_new_ones_are_refused_the_rest_is_taken_up_by_the_next_server(site: Site) -> None:
    await site.start(slots=16)
    assert site.server is not None
    text = "gate next say 20 words"
    left = await site.enqueue(text, stream=True)
    watcher = Watcher(site, left)
    watching = asyncio.create_task(watcher.follow())
    accepted = [
        asyncio.create_task(site.call(f"gate drain as call-{number}", stream=number % 2 == 0)) for number in range(6)
    ]
    callers = [asyncio.create_task(keep_calling(site, f"caller-{number}")) for number in range(CALLERS)]
    await site.engine_waits("waiting", 7)
    await site.engine_waits("finished", 5 * CALLERS)

    await terminate(site)
    status, problem = await site.ask("POST", "/v1/chat/completions", {"model": "words", "messages": []})
    assert (status, "shutting_down" in str(problem)) == (503, True)
    assert (await site.ask("GET", f"/api/v1/inference-tasks/{left}"))[0] == 200
    assert min(await asyncio.gather(*callers)) > 0
    await site.open_gate("drain")
    answers = await asyncio.gather(*accepted)
    assert [status for status, _ in answers] == [200] * 6
    assert all(body.endswith(b"data: [DONE]\n\n") for _, body in answers[::2])
    assert await site.server.ended() == 0
    await watching
    assert watcher.sight.end is None

    assert site.standing(left)[1:] == (1, 0)
    await site.open_gate("next")
    await site.start_server()
    await watcher.follow()
    assert text_of_chunks(watcher.sight.chunks) == answer_to(text)
    row = await site.ended(left)
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
    site.ledger.unsure.clear()  # what was refused left no row
    await site.conclude()


async def test_a_call_that_outlasts_the_shutdown_is_told_so_while_its_task_goes_on(site: Site) -> None:
    await site.start(drain_s="0.2")
    assert site.server is not None
    blocked = asyncio.create_task(site.call("gate later as blocked"))
    streamed = asyncio.create_task(site.call("gate later after 2 as streamed", stream=True))
    await site.engine_waits("waiting", 2)
    await terminate(site)
    status, body = await blocked
    assert (status, b'"shutting_down"' in body) == (503, True)
    status, body = await streamed
    assert (status, b'"shutting_down"' in body, b"[DONE]" in body) == (200, True, False)
    assert await site.server.ended() == 0
    assert site.rows("SELECT count(*) FROM tasks WHERE status IN ('claimed', 'running')") == [(2,)]
    await site.start_server()
    await site.open_gate("later")
    for task_id in site.ledger.accepted:
        row = await site.ended(task_id)
        assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
    assert len(await site.engine_calls()) == 2
    await site.conclude()
