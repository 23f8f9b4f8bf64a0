"""Claims about every endpoint under `/v1/`, whole or streamed, with the bytes that pass through."""

from base64 import b64decode, b64encode
from pathlib import Path

import msgspec
import pytest

from inferpool.server.options import ServerOptions
from inferpool.wire.openai import ENDPOINTS, FORM_ENDPOINTS
from inferpool.wire.sessions import Infer
from tests.server.rig import HOST, JSON, Exchange, Rig, chat_body, running
from tests.server.scripted_worker import ScriptedWorker, bound_worker, failure, result, started

pytestmark = pytest.mark.anyio

TYPED = ["messages", "responses"]
FORM_TYPE = "multipart/form-data; boundary=b0"


def form(model: str = "m", file: bytes = b"RIFF\xff\x00", stream: str = "false") -> bytes:
    """A form with a file, as a client would upload it."""
    parts = [b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n' + file]
    for name, value in {"model": model, "stream": stream}.items():
        parts.append(b'Content-Disposition: form-data; name="%b"\r\n\r\n%b' % (name.encode(), value.encode()))
    return b"".join(b"--b0\r\n" + part + b"\r\n" for part in parts) + b"--b0--\r\n"


def ask(rig: Rig, endpoint: str, *, stream: bool = False, **headers: str) -> Exchange:
    """Begin a call of the endpoint with a body that it takes."""
    path = f"/v1/{endpoint}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if endpoint in FORM_ENDPOINTS:
        body = form(stream=str(stream).lower())
        return rig.open("POST", path, {**HOST, "content-type": FORM_TYPE, **named}, body)
    wish: dict[str, object] = {}
    if stream:
        wish = {"stream_format": "sse"} if endpoint == "audio/speech" else {"stream": True}
    return rig.open("POST", path, {**JSON, **named}, msgspec.json.encode({**chat_body(), **wish}))


def raw(infer: Infer) -> bytes:
    """The body as the worker got it."""
    return (infer.request or "").encode() if infer.request_base64 is None else b64decode(infer.request_base64)


ALL = [*ENDPOINTS, *FORM_ENDPOINTS]


@pytest.mark.parametrize("endpoint", ALL)
async def test_an_answer_passes_with_its_status_its_type_its_bytes(
    rig: Rig, worker: ScriptedWorker, endpoint: str
) -> None:
    call = ask(rig, endpoint)
    infer = await worker.infer()
    assert (infer.endpoint, infer.streaming, infer.headers) == (endpoint, False, {})
    body = b"\xff\xfbaudio" if endpoint == "audio/speech" else b'{ "any":"thing" }'
    said = {**result(infer, 201), "content_type": "audio/mpeg", "body_base64": b64encode(body).decode()}
    await worker.say(said)
    answer = await call.whole()
    assert (answer.status, answer.body, answer.headers["content-type"]) == (201, body, "audio/mpeg")
    assert answer.headers["inferpool-task-id"] == infer.task_id


@pytest.mark.parametrize("endpoint", ALL)
async def test_a_refusal_of_the_engine_stays_what_it_is_streamed_or_not(
    rig: Rig, worker: ScriptedWorker, endpoint: str
) -> None:
    for stream in (False, True):
        call = ask(rig, endpoint, stream=stream)
        infer = await worker.infer()
        await worker.answer(infer, 422, '{"detail":"no"}')
        answer = await call.whole()
        assert (answer.status, answer.body, answer.headers["x-should-retry"]) == (422, b'{"detail":"no"}', "false")


@pytest.mark.parametrize("endpoint", [one for one in ALL if one.partition("/")[0] not in TYPED])
async def test_a_stream_ends_with_done(rig: Rig, worker: ScriptedWorker, endpoint: str) -> None:
    call = ask(rig, endpoint, stream=True)
    infer = await worker.infer()
    assert infer.streaming
    await worker.begin(infer, '{"type":"a"}', '{"b":1}')
    await worker.answer(infer, last_seq=2)
    assert (await call.whole()).body == b'data: {"type":"a"}\n\ndata: {"b":1}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("endpoint", TYPED)
async def test_a_typed_stream_names_its_events_and_has_no_done(rig: Rig, worker: ScriptedWorker, endpoint: str) -> None:
    call = ask(rig, endpoint, stream=True)
    infer = await worker.infer()
    await worker.begin(infer, '{"type":"message_start"}', '{"type":"x\\r\\nevent: y"}', '{"text":"a"}\nevent: evil')
    await worker.answer(infer, last_seq=3)
    assert (await call.whole()).body == (
        b'event: message_start\ndata: {"type":"message_start"}\n\n'
        b'data: {"type":"x\\r\\nevent: y"}\n\n'
        b'data: {"text":"a"}\ndata: event: evil\n\n'
    )


async def test_what_goes_wrong_in_a_stream_of_messages_is_anthropics_error_event(
    rig: Rig, worker: ScriptedWorker
) -> None:
    call = ask(rig, "messages", stream=True)
    infer = await worker.infer()
    await worker.begin(infer, '{"type":"message_start"}')
    await worker.say(failure(infer, "engine_timeout", "slow"))
    name, data = (await call.whole()).body.decode().removesuffix("\n\n").split("\n\n")[-1].split("\n")
    told = msgspec.json.decode(data.removeprefix("data: "))
    assert (name, told["type"]) == ("event: error", "error")
    assert told["error"] == {"message": "slow", "type": "timeout_error", "param": None, "code": "engine_timeout"}


async def test_what_goes_wrong_in_a_stream_of_responses_is_an_error_event_in_its_order(
    rig: Rig, worker: ScriptedWorker
) -> None:
    call = ask(rig, "responses", stream=True)
    infer = await worker.infer()
    await worker.begin(infer, '{"type":"response.created"}', '{"type":"response.in_progress"}')
    await worker.say(failure(infer, "engine_timeout", "slow"))
    name, data = (await call.whole()).body.decode().removesuffix("\n\n").split("\n\n")[-1].split("\n")
    told = msgspec.json.decode(data.removeprefix("data: "))
    assert (name, told["type"], told["sequence_number"]) == ("event: error", "error", 2)
    assert (told["code"], told["message"], told["error"]["type"]) == ("engine_timeout", "slow", "server_error")


async def test_an_engines_own_error_event_is_passed_on(tmp_path: Path) -> None:
    async with running(tmp_path, ServerOptions(headers_wait_s=0.01)) as rig:
        worker = await bound_worker(rig)
        call = ask(rig, "messages", stream=True)
        infer = await worker.infer()
        assert (await call.head())[0] == 200
        await worker.answer(infer, 400, '{"type":"error","error":{"type":"invalid_request_error","message":"no"}}')
        assert (await call.rest()).split(b"\n")[-4:] == [
            b"event: error",
            b'data: {"type":"error","error":{"type":"invalid_request_error","message":"no"}}',
            b"",
            b"",
        ]


@pytest.mark.parametrize("endpoint", [*TYPED, "audio/speech"])
async def test_an_answer_in_one_piece_that_is_no_payload_comes_as_it_is(
    rig: Rig, worker: ScriptedWorker, endpoint: str
) -> None:
    call = ask(rig, endpoint, stream=True)
    infer = await worker.infer()
    kind = "audio/mpeg" if endpoint == "audio/speech" else "application/json"
    await worker.say({**result(infer), "content_type": kind, "body_base64": b64encode(b"\xff{}").decode()})
    answer = await call.whole()
    assert (answer.body, answer.headers["content-type"]) == (b"\xff{}", kind)


@pytest.mark.parametrize(("body", "said"), [(b"{}", b"data: {}\n\n"), (b"\xff", b"in one piece that is no text")])
async def test_an_answer_in_one_piece_after_the_head_is_a_payload_or_an_error(
    tmp_path: Path, body: bytes, said: bytes
) -> None:
    async with running(tmp_path, ServerOptions(headers_wait_s=0.01)) as rig:
        worker = await bound_worker(rig)
        call = ask(rig, "messages", stream=True)
        infer = await worker.infer()
        assert (await call.head())[0] == 200
        await worker.say({**result(infer), "body_base64": b64encode(body).decode()})
        assert said in await call.rest()


async def test_embeddings_pass_in_base64_or_as_floats(rig: Rig, worker: ScriptedWorker) -> None:
    for coding, vector in (("base64", '"AACAPwAAAEA="'), ("float", "[1.0,2.00]")):
        call = rig.start("/v1/embeddings", {"model": "m", "input": ["a"], "encoding_format": coding})
        infer = await worker.infer()
        assert f'"encoding_format":"{coding}"' in (infer.request or "")
        await worker.answer(infer, 200, f'{{"data":[{{"embedding":{vector}}}]}}')
        assert (await call.whole()).body == f'{{"data":[{{"embedding":{vector}}}]}}'.encode()


# ---- Anthropic --------------------------------------------------------------------------------------------------------


async def test_the_headers_that_anthropics_api_needs_go_along_keys_never(rig: Rig, worker: ScriptedWorker) -> None:
    call = ask(
        rig,
        "messages",
        anthropic_version="2023-06-01",
        anthropic_beta="tools-2025\xe9",
        anthropic_auth_token="secret",
        x_api_key="secret",
        authorization="Bearer secret",
    )
    infer = await worker.infer()
    assert infer.headers == {"anthropic-version": "2023-06-01", "anthropic-beta": "tools-2025?"}
    await worker.answer(infer)
    answer = await call.whole()
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


async def test_other_apis_pass_no_such_header(rig: Rig, worker: ScriptedWorker) -> None:
    call = ask(rig, "chat/completions", anthropic_version="2023-06-01")
    infer = await worker.infer()
    assert infer.headers == {}
    await worker.answer(infer)
    assert "request-id" not in (await call.whole()).headers


@pytest.mark.parametrize("endpoint", ["messages", "messages/count_tokens"])
async def test_an_error_of_ours_has_anthropics_shape_around_the_one_shape(
    rig: Rig, worker: ScriptedWorker, endpoint: str
) -> None:
    answer = await rig.post(f"/v1/{endpoint}", chat_body("nobody"))
    assert (answer.status, answer.json["type"]) == (404, "error")
    assert (answer.error["type"], answer.error["code"]) == ("not_found_error", "model_not_found")
    refused = await rig.call("POST", f"/v1/{endpoint}", HOST, b"{}")
    assert (refused.status, refused.json["type"], refused.error["type"]) == (415, "error", "invalid_request_error")
    assert (await rig.call("DELETE", worker.path, {**HOST, **worker.headers})).status == 204
    nobody = await rig.post(f"/v1/{endpoint}", chat_body(), inferpool_queue="live")
    assert (nobody.status, nobody.error["type"]) == (503, "overloaded_error")


# ---- forms ------------------------------------------------------------------------------------------------------------


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


# ---- who has which endpoint -------------------------------------------------------------------------------------------


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


# ---- one llm by its name ----------------------------------------------------------------------------------------------


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
