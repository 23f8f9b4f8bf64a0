"""Leaving: what runs finishes or is given back, what waits is delivered or kept."""

import asyncio

import pytest

from inferpool.wire.sessions import (
    Chunk,
    Result,
    Returned,
)
from tests.worker.engine_peer import FINISH, Script, delta, infer
from tests.worker.memory import PATIENCE_S
from tests.worker.server_peer import LOST, Always, InTurn, nothing
from tests.worker.workers import House

pytestmark = pytest.mark.anyio


async def test_a_leaving_worker_finishes_what_runs_and_then_ends(house: House) -> None:
    script = Script()
    house.engine.then(script)
    worker = house.worker()
    life = asyncio.create_task(worker.run())
    await house.until_linked()
    house.server.push(infer(streaming=True))
    await script.asked.wait()
    worker.leave()
    await house.server.signal.until(lambda: house.server.leaves == 1)
    house.server.push(infer("too-late"))
    await house.until_event(Returned)
    script.say(FINISH, "[DONE]")
    await asyncio.wait_for(life, PATIENCE_S)
    assert len(house.events(Result)) == 1
    assert house.server.transport.open_now == 0


async def test_a_leaving_worker_gives_back_what_does_not_finish_in_time(house: House) -> None:
    script = Script()
    house.engine.then(script)
    house.set(leave_s=0.02)
    worker = house.worker()
    life = asyncio.create_task(worker.run())
    await house.until_linked()
    house.server.push(infer(streaming=True))
    script.say(delta("a"))
    await house.until_event(Chunk)
    worker.leave()
    await asyncio.wait_for(life, PATIENCE_S)
    assert house.events(Returned) == [Returned(task_id="t1", attempt=1)]


async def test_a_leave_repeats_after_each_registration(house: House) -> None:
    script = Script()
    house.engine.then(script)
    worker = house.worker()
    life = asyncio.create_task(worker.run())
    await house.until_linked()
    house.server.push(infer(streaming=True))
    await script.asked.wait()
    house.server.on_leave = InTurn(nothing, LOST)
    worker.leave()
    await house.server.signal.until(lambda: house.server.leaves == 1)
    house.server.cut_channel()
    await house.server.signal.until(lambda: house.server.leaves == 2)
    script.say(FINISH, "[DONE]")
    await asyncio.wait_for(life, PATIENCE_S)
    assert len(house.events(Result)) == 1


async def test_a_worker_that_leaves_while_its_server_is_away_keeps_its_results_on_disk(house: House) -> None:
    house.set(flush_s=0.05, leave_s=0.05)
    house.server.on_events = Always(LOST)
    worker = house.worker()
    life = asyncio.create_task(worker.run())
    await house.until_linked()
    house.server.push(infer())
    await house.until_event(Result)
    house.server.up = False
    worker.leave()
    await asyncio.wait_for(life, PATIENCE_S)
    assert "t1.1.result" in house.disk.files


async def test_a_worker_that_never_registered_leaves_at_once(house: House) -> None:
    house.server.up = False
    worker = house.worker()
    life = asyncio.create_task(worker.run())
    await house.log.signal.until(lambda: "not registered yet, trying again" in house.log.said)
    worker.leave()
    await asyncio.wait_for(life, PATIENCE_S)
