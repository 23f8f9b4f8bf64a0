"""Claims about who has which endpoint, about one llm asked by its own name."""

import pytest

from tests.server.asking import FORM_TYPE, form, raw
from tests.server.rig import HOST, JSON, Rig
from tests.server.scripted_worker import ScriptedWorker, bound_worker, started

pytestmark = pytest.mark.anyio


async def test_an_endpoint_that_no_llm_behind_the_name_has_is_a_404_that_names_those_that_do(rig: Rig) -> None:
    await bound_worker(rig, "chatty", endpoints=["chat/completions"])
    await bound_worker(rig, "vectors", "ranks", endpoints=["embeddings", "rerank"])
    for mode in ("wait", "live", "never"):
        answer = await rig.post("/v1/embeddings", {"model": "chatty"}, inferpool_queue=mode)
        assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
        assert "'ranks', 'vectors'" in str(answer.error["message"])
    nowhere = await rig.post("/v1/responses", {"model": "chatty"})
    assert "no llm here does" in str(nowhere.error["message"])
    pinned = await rig.post("/v1/rerank", {"model": "chatty"}, inferpool_pin="true")
    assert pinned.status == 404
    assert await rig.rows() == 0


async def test_an_endpoint_is_looked_for_behind_a_tier_too(rig: Rig) -> None:
    worker = await bound_worker(rig, "chatty", endpoints=["chat/completions"], tier="fast")
    assert (await rig.post("/v1/rerank", {"model": "tier:fast"})).status == 404
    call = rig.chat("tier:fast")
    await worker.answer(await worker.infer())
    assert (await call.whole()).status == 200


async def test_a_pool_of_which_one_llm_has_the_endpoint_waits_for_that_one(rig: Rig) -> None:
    chatty = await bound_worker(rig, "chatty", endpoints=["chat/completions"], pool_name="p")
    vectors = await bound_worker(rig, "vectors", endpoints=["embeddings"], pool_name="p", slots=1)
    calls = [rig.start("/v1/embeddings", {"model": "p", "input": number}) for number in range(2)]
    for _ in calls:
        await vectors.answer(await vectors.infer())
    assert [(await call.whole()).status for call in calls] == [200, 200]
    call = rig.chat("p")
    await chatty.answer(await chatty.infer())
    assert (await call.whole()).status == 200


async def test_one_llm_takes_the_engines_own_body(rig: Rig) -> None:
    worker = await bound_worker(rig, "hf.co/x/y:Q4@box", pool_name="p")
    await bound_worker(rig, "sibling", pool_name="p")
    path = "/api/v1/llms/hf.co%2Fx%2Fy:Q4@box/infer"
    task_id = ""
    for query, endpoint in (("", "chat/completions"), ("?endpoint=embeddings", "embeddings")):
        call = rig.open("POST", path + query, JSON, b'{"messages":[]}')
        infer = await worker.infer()
        task_id = infer.task_id
        assert (infer.request, infer.endpoint, infer.llm_name) == ('{"messages":[]}', endpoint, "hf.co/x/y:Q4@box")
        await worker.answer(infer)
        assert (await call.whole()).status == 200
    task = (await rig.call("GET", f"/api/v1/inference-tasks/{task_id}")).json
    assert (task["lane"], task["llm_name"], task["max_tries"]) == ("llm:hf.co/x/y:Q4@box", "hf.co/x/y:Q4@box", 1)


async def test_one_llm_takes_forms_and_streams_in_the_endpoints_own_dialect(rig: Rig, worker: ScriptedWorker) -> None:
    path = "/api/v1/llms/m/infer?endpoint="
    call = rig.open("POST", path + "audio/transcriptions", {**HOST, "content-type": FORM_TYPE}, form("any"))
    infer = await worker.infer()
    assert raw(infer) == form("any")
    await worker.answer(infer)
    assert (await call.whole()).status == 200
    stream = rig.start(path + "messages", {"messages": [], "stream": True}, anthropic_version="1")
    infer = await worker.infer()
    assert infer.headers == {"anthropic-version": "1"}
    await worker.say(
        started(infer), {"type": "chunk", "task_id": infer.task_id, "attempt": 1, "seq": 1, "data": '{"type":"a"}'}
    )
    await worker.answer(infer, last_seq=1)
    assert (await stream.whole()).body == b'event: a\ndata: {"type":"a"}\n\n'


async def test_one_llm_is_live_or_the_call_fails_at_once_unless_it_may_wait(rig: Rig, worker: ScriptedWorker) -> None:
    assert (await rig.call("DELETE", worker.path, {**HOST, **worker.headers})).status == 204
    path = "/api/v1/llms/m/infer"
    answer = await rig.post(path, {"messages": []})
    assert (answer.status, answer.error["code"]) == (503, "llm_unavailable")
    assert await rig.rows() == 0
    waiting = await rig.post(path, {"messages": []}, inferpool_queue="wait", x_stainless_read_timeout="0.05")
    assert (waiting.status, waiting.headers["inferpool-queue-position"]) == (504, "1")


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("/api/v1/llms/nobody/infer", 404, "model"),
        ("/api/v1/llms/m/infer?endpoint=../admin", 400, "endpoint"),
        ("/api/v1/llms/m/infer?endpoint=" + "a" * 101, 400, "endpoint"),
        ("/api/v1/llms/m/infer?model=m", 400, "model"),
    ],
)
async def test_a_wrong_address_of_an_llm_is_told(
    rig: Rig, worker: ScriptedWorker, path: str, status: int, param: str
) -> None:
    answer = await rig.post(path, {"messages": []})
    assert (answer.status, answer.error["param"]) == (status, param)
    assert await rig.rows() == 0


async def test_a_key_belongs_to_the_llm_that_it_was_used_with(rig: Rig) -> None:
    worker = await bound_worker(rig, "a", "b")
    first = rig.start("/api/v1/llms/a/infer", {"messages": []}, idempotency_key="k")
    await worker.answer(await worker.infer())
    assert (await first.whole()).status == 200
    other = await rig.post("/api/v1/llms/b/infer", {"messages": []}, idempotency_key="k")
    assert (other.status, other.error["code"]) == (409, "conflict")


async def test_a_response_in_the_background_outlives_its_caller(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.start("/v1/responses", {"model": "m", "input": "x", "background": True})
    infer = await worker.infer()
    call.leave()
    await call.over()
    assert (await worker.answer(infer)).json == {"refused": []}
