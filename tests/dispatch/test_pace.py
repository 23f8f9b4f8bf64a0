"""A waiting task is told how long it is likely to wait."""

from pathlib import Path

import msgspec
import pytest

from inferpool.dispatch.pace import Pace
from inferpool.dispatch.peers import Peers
from tests.dispatch.rig import ScriptedWorker, call, offer, opened_dispatch, result

pytestmark = pytest.mark.anyio


async def test_the_wait_is_what_stands_before_it_shared_by_the_slots(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).join(offer(slots=4))
        pace = Pace(rig.dispatch.catalog, rig.dispatch.backlog, Peers())
        assert pace.expected_s("pool:small", 8) is None
        pace.ran("pool:small", 3.0)
        assert pace.expected_s("pool:small", 8) == 6.0
        pace.ran("pool:small", 13.0)
        assert pace.expected_s("pool:small", 8) == 8.0


async def test_slots_that_other_lanes_want_too_are_waited_for_in_turn(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig, 1).join(offer(slots=4))
        await ScriptedWorker(rig, 2).join(offer("small@b", slots=4), offer("big@b", pool="big", slots=4))
        pace, backlog = Pace(rig.dispatch.catalog, rig.dispatch.backlog, Peers()), rig.dispatch.backlog
        pace.ran("pool:small", 1.0)
        assert pace.expected_s("pool:small", 8) == 1.0
        backlog.entered("pool:big", 1)
        assert pace.expected_s("pool:small", 6) == 1.0  # 4 a second of the one, half of them of the other
        pace.ran("pool:big", 3.0)
        assert pace.expected_s("pool:small", 5) == 1.0


async def test_a_newcomer_waits_behind_all_that_wait_or_not_at_all_where_a_slot_is_free(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        pace = rig.dispatch.pace
        assert pace.newcomer_s("pool:small") is None
        await ScriptedWorker(rig).join()
        assert pace.newcomer_s("pool:small") == 0.0
        await rig.dispatch.intake.submit(call())
        assert pace.newcomer_s("pool:small") is None
        pace.ran("pool:small", 2.0)
        assert pace.newcomer_s("pool:small") == 2.0
        await rig.dispatch.intake.submit(call())
        assert pace.newcomer_s("pool:small") == 4.0


async def test_who_backs_off_waits_for_that_at_least(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        ticket = await rig.dispatch.intake.submit(call())
        rig.dispatch.pace.ran("pool:small", 2.0)
        busy = msgspec.structs.replace(result(await worker.infer(), status=429), retry_after_s=100.0)
        assert await worker.say(busy) == []
        row = await rig.dispatch.reader.row(ticket.task_id)
        assert row is not None
        assert await rig.dispatch.queue.standing(row) == (1, 100.0)


async def test_without_a_slot_nobody_knows(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        rig.dispatch.pace.ran("pool:small", 3.0)
        assert rig.dispatch.pace.expected_s("pool:small", 1) is None


async def test_lanes_seen_longest_ago_are_forgotten(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).join()
        pace = rig.dispatch.pace
        pace.ran("pool:small", 3.0)
        for number in range(10_000):
            pace.ran(f"pool:{number}", 1.0)
        assert pace.expected_s("pool:small", 1) is None


async def test_every_answer_teaches_its_lane(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.intake.submit(call())
        await worker.say(result(await worker.infer()))
        assert rig.dispatch.pace.expected_s("pool:small", 1) is not None
