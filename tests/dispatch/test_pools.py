"""Claims about what is told of pools, about where a waiting task stands."""

from pathlib import Path

import pytest

from inferpool.core.access import Limits
from inferpool.core.lanes import PriorityClass
from inferpool.dispatch.backlog import Backlog
from inferpool.dispatch.line import COUNTED
from inferpool.dispatch.options import DispatchOptions
from tests.dispatch.rig import ScriptedWorker, call, opened_dispatch

pytestmark = pytest.mark.anyio


async def test_a_pool_outside_of_the_limits_is_not_told(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await ScriptedWorker(rig).join()
        [name] = rig.dispatch.pools.names()
        [llm] = rig.dispatch.catalog.pools[name]
        assert rig.dispatch.pools.names(Limits(pools=frozenset({"other"}))) == []
        assert rig.dispatch.pools.names(Limits(pools=frozenset({name}))) == [name]
        by_llm = Limits(llms=frozenset({llm}))
        assert rig.dispatch.pools.names(by_llm) == [name]
        [view] = await rig.dispatch.pools.views([name], by_llm)
        assert [member.name for member in view.members] == [llm]


async def test_a_place_beyond_the_counted_ones_is_an_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        worker = ScriptedWorker(rig)
        await worker.join()
        running = await rig.dispatch.intake.submit(call())
        waiting = await rig.dispatch.intake.submit(call())
        row = await rig.dispatch.reader.row(waiting.task_id)
        assert row is not None
        standing = await rig.dispatch.queue.standing(row)
        assert standing is not None
        assert (standing.position, standing.wait_s) == (1, None)
        monkeypatch.setattr(type(rig.dispatch.reader), "position", counted)
        far = await rig.dispatch.queue.standing(row)
        assert far is not None
        assert far.position == COUNTED
        monkeypatch.setattr(type(rig.dispatch.reader), "position", claimed_meanwhile)
        assert await rig.dispatch.queue.standing(row) is None
        held = await rig.dispatch.reader.row(running.task_id)
        assert held is not None
        assert await rig.dispatch.queue.standing(held) is None


async def counted(_: object, __: str) -> int:
    return COUNTED


async def claimed_meanwhile(_: object, __: str) -> None:
    return None


def test_an_estimate_lies_between_the_lanes_clock_and_its_end() -> None:
    backlog = Backlog(DispatchOptions())
    ranks = []
    for _ in range(4000):
        ranks.append(backlog.rank("pool:m", "ann", PriorityClass.DEFAULT))
        backlog.entered("pool:m", 1)
    assert (backlog.pending("pool:m"), backlog.lanes()) == (4000, ["pool:m"])
    places = [backlog.estimate("pool:m", rank) for rank in (ranks[0], ranks[1999], ranks[-1], 2 * ranks[-1], 0.0)]
    assert places == [1, 2000, 4000, 4000, 0]
    assert backlog.estimate("pool:empty", 7.0) == 0
