"""The engine is away: that is said, then taken up again by itself when it is back."""

import asyncio

import pytest

from tests.journeys.fleet import POOL
from tests.journeys.processes import PATIENCE_S
from tests.journeys.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.journey]


async def models_are(site: Site, *names: str) -> None:
    """Until these are the models that a caller may name: a row of the store may be read before its server acts on it."""
    async with asyncio.timeout(PATIENCE_S):
        while await models(site) != list(names):
            pass


async def models(site: Site) -> list[str]:
    status, answer = await site.ask("GET", "/v1/models")
    assert status == 200, answer
    assert isinstance(answer["data"], list)
    return [model["id"] for model in answer["data"]]


async def test_an_engine_that_goes_away_is_said_and_taken_up_again_when_it_is_back(site: Site) -> None:
    await asyncio.gather(site.start_engine(), site.start_server())
    worker = await site.start_worker(probe_s="0.2")
    broken = await site.enqueue("say 3 words gate late")
    await site.engine_waits("waiting")
    assert site.engine is not None
    await site.engine.kill()
    await worker.says("waiting for the engine")
    await models_are(site)
    waiting = await site.enqueue("say 4 words")
    assert site.standing(waiting) == ("pending", 0, 0)

    heard = len(worker.lines)
    await site.start_engine()
    await worker.says("the engine serves models", after=heard)
    await models_are(site, POOL, f"{POOL}@box")
    await site.open_gate("late")
    row = await site.ended(broken)
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 2, 1)
    row = await site.ended(waiting)
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
    assert [one["ending"] for one in await site.attempts(broken)] == ["retried", "completed"]
    await site.conclude()


async def test_an_engine_that_is_down_at_the_start_is_waited_for(site: Site) -> None:
    engine, _ = await asyncio.gather(site.start_engine(), site.start_server())
    await engine.kill()  # its address is known now
    worker = await site.start_worker(probe_s="0.2")
    await worker.says("waiting for the engine")
    assert await models(site) == []

    heard = len(worker.lines)
    await site.start_engine()
    await worker.says("the engine serves models", after=heard)
    await models_are(site, POOL, f"{POOL}@box")
    row = await site.ended(await site.enqueue("say 3 words"))
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
    await site.conclude()
