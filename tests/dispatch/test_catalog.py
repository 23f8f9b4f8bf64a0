"""Claims about the names that calls are judged by: how they follow the sessions, how little work that is."""

from pathlib import Path

import msgspec
import pytest

from inferpool.core.clock import DAY
from inferpool.core.errors import LlmUnavailable
from inferpool.core.ids import SessionId
from inferpool.core.lanes import pool_lane
from inferpool.core.lifecycle import Status
from inferpool.core.llm import Kind, Llm, LlmStatus
from inferpool.core.task import QueueMode
from inferpool.dispatch.catalog import Catalog
from inferpool.dispatch.live import LiveSession
from tests.dispatch.rig import OPTIONS, Rig, ScriptedWorker, call, offer, opened_dispatch, turn
from tests.store.stores import SettableClock

pytestmark = pytest.mark.anyio

READS: list[str] = []


class CountedLlm(Llm, frozen=True, kw_only=True):
    """An llm that notes each look at one of its fields."""

    def __getattribute__(self, field: str) -> object:
        READS.append(field)
        return super().__getattribute__(field)


def counted(number: int) -> CountedLlm:
    """One of a thousand workers' llms, all of them in one pool."""
    return CountedLlm(
        name=f"m@{number}",
        session_id=SessionId(f"s{number}"),
        kind=Kind.VIRTUAL,
        model="m",
        type="chat",
        tier=None,
        pool_name="m",
        engine="e",
        slots=1,
        status=LlmStatus.ACTIVE,
        endpoints=None,
        extra={},
        created_at=0,
        updated_at=0,
    )


async def come_back(catalog: Catalog, number: int) -> int:
    """A worker registers; gives how often that looked at a field of any llm."""
    session = LiveSession(SessionId(f"s{number}"), 1, "", 0.0)
    catalog.sessions[session.id] = session
    before = len(READS)
    catalog.publish([counted(number)], session.id)
    return len(READS) - before


async def test_a_thousand_workers_that_come_back_cost_each_what_the_first_one_cost() -> None:
    catalog = Catalog(SettableClock())
    first = [await come_back(catalog, number) for number in range(1000)]
    again = [await come_back(catalog, number) for number in range(1000)]
    assert first[999] == first[0]
    assert again[999] == again[0]
    assert catalog.slots(pool_lane("m")) == 1000
    before = len(READS)
    catalog.deactivate(SessionId("s500"))
    assert len(READS) - before <= 2 * again[0] + len(Llm.__struct_fields__)
    assert catalog.slots(pool_lane("m")) == 999
    assert [llm.name for llm in catalog.llms("m@499", 2)] == ["m@5", "m@50"]


async def test_a_name_that_another_session_takes_over_follows_that_one(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        first = await ScriptedWorker(rig, 1).join(offer("m@box", pool="old"))
        await rig.dispatch.desk.leave(first.session_id)
        first.break_channel()
        await turn()
        await rig.dispatch.poll.tick()
        second = await ScriptedWorker(rig, 2).join(offer("m@box", pool="new"))
        catalog = rig.dispatch.catalog
        assert list(catalog.pools) == ["new"]
        assert [session.id for session, _ in catalog.serving("pool:new")] == [second.session_id]
        assert catalog.lanes() == ["pool:new", "llm:m@box"]
        await second.register(offer("other@box", pool="new"))
        assert [(llm.name, llm.status.value) for llm in catalog.llms("", 9)] == [
            ("m@box", "inactive"),
            ("other@box", "active"),
        ]
        assert catalog.lanes() == ["pool:new", "llm:other@box"]


class Interrupted:
    """Reads the names; another worker registers before the reader's answer is used."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._read = rig.dispatch.reader.llms

    async def __call__(self, after: str | None, limit: int) -> list[Llm]:
        found = await self._read(after, limit)
        if after is None:
            await ScriptedWorker(self._rig).join()
        return found


async def test_what_registers_while_a_sweep_reads_the_names_back_stays_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        reader = rig.dispatch.reader
        monkeypatch.setattr(reader, "llms", Interrupted(rig))
        await rig.dispatch.catalog.recall(reader)
        llm = rig.dispatch.catalog.llm("small@box")
        assert llm is not None
        assert llm.status is LlmStatus.ACTIVE


async def test_names_that_a_sweep_deleted_are_forgotten_their_pool_still_takes_calls(tmp_path: Path) -> None:
    clock = SettableClock()
    async with opened_dispatch(tmp_path / "db", clock=clock) as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.desk.leave(worker.session_id)
        worker.break_channel()
        await rig.dispatch.poll.tick()
        clock.advance(OPTIONS.forget_after * 2)
        [duty] = [duty for duty in rig.dispatch.sweeps.duties() if duty.name == "old sessions"]
        assert await rig.dispatch.sweeps.sweep(duty) == 1
        assert rig.dispatch.catalog.llms("", 9) == []
        assert (await rig.dispatch.intake.submit(call())).status is Status.PENDING


async def test_a_pool_in_which_something_waits_takes_calls_after_a_restart_too(tmp_path: Path) -> None:
    clock = SettableClock()
    async with opened_dispatch(tmp_path / "db", clock=clock) as rig:
        worker = await ScriptedWorker(rig).join()
        await rig.dispatch.desk.leave(worker.session_id)
        worker.break_channel()
        await rig.dispatch.poll.tick()
        await rig.dispatch.intake.submit(msgspec.structs.replace(call(), expires_in=DAY))
        clock.advance(OPTIONS.forget_after * 2)
        await rig.dispatch.desk._shared.store.forget_sessions(OPTIONS.forget_after, 500)
    async with opened_dispatch(tmp_path / "db", clock=clock, start=1000) as rig:
        assert rig.dispatch.pools.names() == ["small"]
        assert (await rig.dispatch.intake.submit(call())).status is Status.PENDING


async def test_a_worker_that_a_restart_cut_off_is_live_for_its_grace(tmp_path: Path) -> None:
    clock = SettableClock()
    async with opened_dispatch(tmp_path / "db", clock=clock) as rig:
        await ScriptedWorker(rig).join()
    live = msgspec.structs.replace(call(), mode=QueueMode.LIVE)
    slow = msgspec.structs.replace(OPTIONS, grace_s=3600.0)
    async with opened_dispatch(tmp_path / "db", slow, clock, start=1000) as rig:
        assert [entry.name for entry in rig.dispatch.catalog.models()] == ["small", "small@box"]
        assert (await rig.dispatch.intake.submit(live)).status is Status.PENDING
    async with opened_dispatch(tmp_path / "db", clock=clock, start=2000) as rig:
        await rig.dispatch.poll.tick()
        assert rig.dispatch.catalog.models() == []
        with pytest.raises(LlmUnavailable):
            await rig.dispatch.intake.submit(live)
