"""Claims about forms with a file: they pass byte for byte, what is none is refused."""

from base64 import b64decode

import pytest

from inferpool.wire.openai import FORM_ENDPOINTS
from tests.server.asking import FORM_TYPE, ask, form, raw
from tests.server.rig import HOST, Rig
from tests.server.scripted_worker import ScriptedWorker

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("endpoint", FORM_ENDPOINTS)
async def test_a_form_reaches_the_worker_byte_for_byte(rig: Rig, worker: ScriptedWorker, endpoint: str) -> None:
    call = ask(rig, endpoint)
    infer = await worker.infer()
    assert (infer.content_type, raw(infer)) == (FORM_TYPE, form())
    await worker.answer(infer, 200, '{"text":"hi"}')
    assert (await call.whole()).json == {"text": "hi"}
    task = (await rig.call("GET", f"/api/v1/inference-tasks/{infer.task_id}")).json
    assert (task["model"], b64decode(str(task["request_base64"]))) == ("m", form())


async def test_a_big_form_is_fetched_beside_the_channel(rig: Rig, worker: ScriptedWorker) -> None:
    body = form(file=b"\xff" * 300_000)
    call = rig.open("POST", "/v1/audio/transcriptions", {**HOST, "content-type": FORM_TYPE}, body)
    infer = await worker.infer()
    assert infer.request_url is not None
    answer = await rig.call("GET", infer.request_url, {**HOST, **worker.headers})
    assert (answer.body, answer.headers["content-type"]) == (body, FORM_TYPE)
    await worker.answer(infer)
    await call.whole()


async def test_a_form_that_is_sent_again_under_its_key_is_the_same_call(rig: Rig, worker: ScriptedWorker) -> None:
    first = ask(rig, "audio/transcriptions", idempotency_key="k")
    infer = await worker.infer()
    await worker.answer(infer)
    assert (await first.whole()).status == 200
    headers = {**HOST, "content-type": FORM_TYPE.replace("b0", "b1"), "idempotency-key": "k"}
    again = await rig.call("POST", "/v1/audio/transcriptions", headers, form().replace(b"--b0", b"--b1"))
    assert (again.status, again.headers["inferpool-task-id"]) == (200, infer.task_id)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b'{"model":"m"}', 415),
        ("text/plain", form(), 415),
        (FORM_TYPE, b"{}", 400),
        (FORM_TYPE, form(model=""), 400),
        (FORM_TYPE, form()[:-4], 400),
        (FORM_TYPE, form(model="nobody"), 404),
        ("multipart/form-data", form(), 400),
    ],
)
async def test_a_form_that_is_none_leaves_nothing(
    rig: Rig, worker: ScriptedWorker, kind: str, body: bytes, status: int
) -> None:
    answer = await rig.call("POST", "/v1/audio/transcriptions", {**HOST, "content-type": kind}, body)
    assert answer.status == status
    assert answer.error["message"]
    assert await rig.rows() == 0


async def test_a_form_from_a_web_page_is_refused(rig: Rig, worker: ScriptedWorker) -> None:
    headers = {**HOST, "content-type": FORM_TYPE, "origin": "http://127.0.0.1:8010"}
    answer = await rig.call("POST", "/v1/audio/transcriptions", headers, form())
    assert (answer.status, answer.error["param"]) == (415, "Content-Type")


async def test_a_form_is_no_task_of_the_native_api(rig: Rig, worker: ScriptedWorker) -> None:
    answer = await rig.post("/api/v1/inference-tasks", {"endpoint": "audio/transcriptions", "request": {"model": "m"}})
    assert (answer.status, answer.error["param"]) == (400, "endpoint")
    assert "Inferpool-On-Disconnect" in str(answer.error["message"])
