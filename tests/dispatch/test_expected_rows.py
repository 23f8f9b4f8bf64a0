"""A poll between the moment that a caller begins to wait for its task, the moment that the row stands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.lowlevel
import asyncpg
import pytest

from inferpool.core.lifecycle import Status
from tests.dispatch.rig import PATIENCE_S, ScriptedWorker, call, result
from tests.dispatch.servers import Site, opened_servers, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def no_new_rows(site: Site) -> AsyncIterator[None]:
    """Whoever inserts a task waits until this ends; whoever reads does not."""
    keeper = await asyncpg.connect(site.desk.url)
    try:
        async with keeper.transaction():
            await keeper.execute("LOCK TABLE tasks IN SHARE MODE")
            yield
    finally:
        await keeper.close()


async def test_a_row_that_is_not_written_yet_is_not_taken_for_one_that_was_deleted() -> None:
    async with opened_servers() as site:
        first, second = site.servers
        worker = await ScriptedWorker(first).join_with(1)
        await until(lambda: second.dispatch.catalog.llm("small@box"))
        async with no_new_rows(site):
            submitting = asyncio.ensure_future(second.dispatch.intake.submit(call()))
            await anyio.lowlevel.checkpoint()
            assert second.dispatch.feed.callers.blocked == 1
            await second.dispatch.net.tasks()
            assert not submitting.done()
        ticket = await submitting
        await worker.say(result(await worker.infer(), "whole"))
        assert ticket.watcher is not None
        outcome = await ticket.watcher.end(PATIENCE_S)
        assert outcome is not None
        assert outcome.status is Status.COMPLETED
