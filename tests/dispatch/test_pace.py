"""A waiting task is told how long it is likely to wait."""

from pathlib import Path

import pytest

from inferpool.dispatch.pace import Pace
from tests.dispatch.rig import ScriptedWorker, call, offer, opened_dispatch, result

pytestmark = pytest.mark.anyio


async def test_the_wait_is_what_stands_before_it_shared_by_the_slots(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).join(offer(slots=4))
        pace = Pace(rig.dispatch.catalog)
        assert pace.expected_s("pool:small", 8) is None
        pace.ran("pool:small", 3.0)
        assert pace.expected_s("pool:small", 8) == 6.0
        pace.ran("pool:small", 13.0)
        assert pace.expected_s("pool:small", 8) == 8.0


async def test_without_a_slot_nobody_knows(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        pace = Pace(rig.dispatch.catalog)
        pace.ran("pool:small", 3.0)
        assert pace.expected_s("pool:small", 1) is None


async def test_lanes_seen_longest_ago_are_forgotten(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).join()
        pace = Pace(rig.dispatch.catalog)
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
