"""Watchers that come, go, come back."""

import pytest

from tests.engines.directives import answer_to
from tests.journeys.cluster import on_both
from tests.journeys.ledger import text_of_chunks
from tests.journeys.site import Site
from tests.journeys.watching import Watcher

pytestmark = [pytest.mark.anyio, pytest.mark.journey, on_both]

RECONNECTS = 10


async def test_a_watcher_that_reconnects_ten_times_sees_every_chunk_once_during_the_run_or_after_it(site: Site) -> None:
    await site.start()
    text = "say 60 words every 10 ms gate first"
    task_id = await site.enqueue(text, stream=True)
    watcher = Watcher(site, task_id)
    await site.open_gate("first")
    for count in range(1, RECONNECTS + 1):
        await watcher.follow(5)
        assert len(watcher.sight.chunks) == 5 * count
    await watcher.follow()
    assert watcher.sight.connections == RECONNECTS + 1
    assert (watcher.sight.end, watcher.sight.resets) == ("completed", 0)
    assert text_of_chunks(watcher.sight.chunks) == answer_to(text)
    late = Watcher(site, task_id)  # what is kept can be read in as many pieces
    for _ in range(RECONNECTS):
        await late.follow(5)
    await late.follow()
    assert (late.sight.connections, late.sight.chunks) == (RECONNECTS + 1, watcher.sight.chunks)
    path = f"{site.server_url}/api/v1/inference-tasks/{task_id}/stream"
    async with site.http.get(path, headers={"Last-Event-ID": watcher.sight.last_id or ""}) as reply:
        assert reply.status == 204
    await site.conclude()
