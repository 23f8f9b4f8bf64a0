"""Claims about what limited tokens call or publish, about whose a session is."""

from pathlib import Path

import msgspec
import pytest

from inferpool.core.access import NO_LIMITS, Limits
from inferpool.core.errors import Forbidden, ModelNotFound, NotFound
from inferpool.core.session import LlmOffer
from inferpool.core.task import QueueMode
from inferpool.dispatch.catalog import Catalog
from inferpool.wire.sessions import RegisterRequest, WorkerInfo
from tests.dispatch.rig import SECRET, Rig, ScriptedWorker, call, offer, opened_dispatch
from tests.store.builders import kept_llm

pytestmark = pytest.mark.anyio
NAMED = Limits(frozenset({"small@a"}))
POOLED = Limits(pools=frozenset({"small"}))


async def catalog(rig: Rig) -> Catalog:
    """Two llms in the pool `small`, one in `big`."""
    await ScriptedWorker(rig).join(offer("small@a"), offer("small@b"), offer("big@a", pool="big"))
    return rig.dispatch.catalog


@pytest.mark.parametrize(
    ("limits", "model", "lane"),
    [
        (NO_LIMITS, "small@a", "pool:small"),
        (NAMED, "small@a", "llm:small@a"),
        (POOLED, "small", "pool:small"),
        (POOLED, "small@b", "pool:small"),
        (Limits(frozenset({"small@a"}), frozenset({"small"})), "small@a", "pool:small"),
    ],
)
async def test_a_call_within_its_limits_never_reaches_an_llm_outside(
    tmp_path: Path, limits: Limits, model: str, lane: str
) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        routing = (await catalog(rig)).naming.route(model, QueueMode.WAIT, pin=False, limits=limits)
        assert routing.lane == lane


@pytest.mark.parametrize("pin", [False, True])
@pytest.mark.parametrize(("limits", "model"), [(NAMED, "small@b"), (POOLED, "big@a"), (NAMED, "big@a")])
async def test_what_lies_outside_is_as_unknown_as_what_is_not_there(
    tmp_path: Path, limits: Limits, model: str, pin: bool
) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        names = await catalog(rig)
        with pytest.raises(NotFound) as hidden:
            names.naming.route(model, QueueMode.WAIT, pin=pin, limits=limits)
        with pytest.raises(NotFound) as absent:
            names.naming.route(f"{model}x", QueueMode.WAIT, pin=pin, limits=limits)
        assert (hidden.value.denied, absent.value.denied) == (True, False)
        assert (type(hidden.value), hidden.value.param) == (type(absent.value), absent.value.param)
        assert (
            hidden.value.message.split("did you mean")[0]
            == absent.value.message.replace(f"{model}x", model).split("did you mean")[0]
        )
        assert "big@a'" not in hidden.value.message.split("did you mean")[-1].replace(repr(model), "")


async def test_models_are_listed_as_far_as_the_limits_reach(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        names = await catalog(rig)
        assert [entry.name for entry in names.models()] == ["big", "small", "big@a", "small@a", "small@b"]
        assert [(entry.name, entry.kind) for entry in names.models(NAMED)] == [("small@a", "llm")]
        assert [entry.name for entry in names.models(POOLED)] == ["small", "small@a", "small@b"]


async def test_a_refused_call_leaves_no_row(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await catalog(rig)
        with pytest.raises(ModelNotFound):
            await rig.dispatch.intake.submit(msgspec.structs.replace(call(model="big"), limits=POOLED))
        assert await rig.dispatch.reader.pending(None, 10) == []


async def publish(rig: Rig, limits: Limits, *llms: LlmOffer) -> None:
    worker = WorkerInfo(name="box")
    request = RegisterRequest(session_id=ScriptedWorker(rig).session_id, epoch=1, worker=worker, llms=list(llms))
    await rig.dispatch.desk.register(request, SECRET, "ann", limits)


async def test_a_worker_publishes_within_the_limits_of_its_token_alone(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        with pytest.raises(Forbidden, match="big@a") as refused:
            await publish(rig, POOLED, offer("small@a"), offer("big@a", pool="big"))
        assert refused.value.param == "llms[1].name"
        assert await rig.dispatch.reader.sessions(None, 10) == []
        await publish(rig, POOLED, offer("small@a"))
        assert await kept_llm(rig.dispatch.reader, "small@a") is not None


async def test_a_session_hears_nobody_but_its_own_subject(tmp_path: Path) -> None:
    async with opened_dispatch(tmp_path / "db") as rig:
        await publish(rig, NO_LIMITS, offer("small@a"))
        who = msgspec.structs.replace(ScriptedWorker(rig).who, epoch=1)
        assert await rig.dispatch.desk.take(msgspec.structs.replace(who, only="ann"), []) == []
        assert await rig.dispatch.desk.take(who, []) == []
        with pytest.raises(NotFound) as refused:
            await rig.dispatch.desk.take(msgspec.structs.replace(who, only="bob"), [])
        assert refused.value.denied
