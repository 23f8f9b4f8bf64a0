"""Claims about the lists of llms, of models."""

import asyncio
from urllib.parse import quote

import pytest
from anyio.lowlevel import checkpoint

from inferpool.core.ids import ServerId, SessionId
from inferpool.core.llm import LlmStatus
from inferpool.core.session import LlmOffer, Registration
from tests.server.rig import HOST, Rig, chat_body, new_id
from tests.server.scripted_worker import ScriptedWorker, bound_worker

pytestmark = pytest.mark.anyio
FAR = "hf.co/x/y:Q4@box"


async def test_models_are_listed_as_openai_lists_them(rig: Rig) -> None:
    await bound_worker(rig, "b", "a")
    listed = (await rig.call("GET", "/v1/models")).json
    data = listed["data"]
    assert isinstance(data, list)
    assert listed["object"] == "list"
    assert [model["id"] for model in data] == ["a", "b"]
    assert data[0] == {"id": "a", "object": "model", "created": rig.clock.now // 1_000_000, "owned_by": "inferpool"}


@pytest.mark.parametrize("path", [quote(FAR, safe=""), FAR])
async def test_a_name_with_slashes_is_found_encoded_or_not(rig: Rig, path: str) -> None:
    await bound_worker(rig, FAR)
    assert (await rig.call("GET", f"/v1/models/{path}")).json["id"] == FAR
    assert (await rig.call("GET", f"/api/v1/llms/{path}")).json["name"] == FAR


async def test_a_name_that_is_not_there_is_a_404(rig: Rig, worker: ScriptedWorker) -> None:
    model = await rig.call("GET", "/v1/models/x/y")
    assert (model.status, model.error["code"]) == (404, "model_not_found")
    llm = await rig.call("GET", "/api/v1/llms/x/y")
    assert (llm.status, llm.error["code"]) == (404, "not_found")


async def test_an_inactive_llm_is_no_model_but_still_an_llm(rig: Rig, worker: ScriptedWorker) -> None:
    await rig.call("DELETE", worker.path, {**HOST, **worker.headers})
    assert (await rig.call("GET", "/v1/models")).json["data"] == []
    assert (await rig.call("GET", "/v1/models/m")).status == 404
    assert (await rig.call("GET", "/api/v1/llms/m")).json["status"] == "inactive"


async def test_llms_are_paged_by_name(rig: Rig) -> None:
    await bound_worker(rig, "c", "a", "b")
    first = (await rig.call("GET", "/api/v1/llms?limit=2")).json
    assert first["next_cursor"] == "b"
    second = (await rig.call("GET", f"/api/v1/llms?limit=2&cursor={first['next_cursor']}")).json
    names = [
        one["name"] for page in (first, second) for one in (page["data"] if isinstance(page["data"], list) else [])
    ]
    assert (names, second["next_cursor"]) == (["a", "b", "c"], None)


async def committed(rig: Rig, name: str) -> None:
    """A registration whose rows are there, of which the server has not heard yet: the moment between the two, held still."""
    wish = Registration(
        session_id=SessionId(new_id()),
        secret_hash="of a secret",
        epoch=1,
        server_id=ServerId(new_id()),
        subject="local",
        worker_name="box",
        worker_version="",
        labels={},
        llms=[LlmOffer(name=name, model=name, engine="e", slots=1, status=LlmStatus.ACTIVE)],
        holding=[],
        unwritten=[],
    )
    await rig.dispatch.desk._shared.store.register(wish)


async def test_whatever_is_listed_as_active_can_be_called(rig: Rig) -> None:
    await committed(rig, "early")
    await bound_worker(rig, "m")
    assert {llm.name for llm in await rig.dispatch.reader.llms(None, 10)} == {"early", "m"}
    listed = (await rig.call("GET", "/api/v1/llms")).json["data"]
    assert isinstance(listed, list)
    active = [llm["name"] for llm in listed if llm["status"] == "active"]
    assert active == ["m"]
    for name in ["early", *active]:
        shown = (await rig.call("GET", f"/api/v1/llms/{name}")).status
        request = {"model": name, "messages": []}
        called = await rig.post("/api/v1/inference-tasks", {"request": request, "pin": True})
        assert (shown, called.status) in {(200, 202), (404, 404)}


async def test_an_llm_whose_worker_begins_to_leave_is_listed_as_inactive_at_once(rig: Rig) -> None:
    worker = await bound_worker(rig, "m")
    leaving = asyncio.ensure_future(rig.dispatch.desk.leave(SessionId(worker.session_id)))
    await checkpoint()
    assert not leaving.done()
    assert (await rig.call("GET", "/api/v1/llms/m")).json["status"] == "inactive"
    assert (await rig.call("GET", "/v1/models")).json["data"] == []
    assert (await rig.post("/v1/chat/completions", chat_body(), inferpool_queue="live")).status == 503
    await leaving


async def test_a_status_that_a_leaving_worker_still_tells_makes_nothing_active(rig: Rig) -> None:
    worker = await bound_worker(rig, "m")
    assert (await rig.call("DELETE", worker.path, {**HOST, **worker.headers})).status == 204
    await worker.say({"type": "llm_status", "llm_name": "m", "status": "active", "slots": 1})
    assert (await rig.call("GET", "/api/v1/llms/m")).json["status"] == "inactive"


async def test_an_llm_takes_no_parameters(rig: Rig, worker: ScriptedWorker) -> None:
    assert (await rig.call("GET", "/api/v1/llms/m?wide=1")).error["param"] == "wide"
    assert (await rig.call("GET", "/api/v1/llms?wide=1")).error["param"] == "wide"
