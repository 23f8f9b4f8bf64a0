"""Claims about every endpoint under `/v1/`, whole or streamed, with the bytes that pass through."""

from base64 import b64encode
from pathlib import Path

import msgspec
import pytest

from inferpool.server.options import ServerOptions
from tests.server.asking import ALL, TYPED, ask
from tests.server.rig import HOST, Rig, chat_body, running
from tests.server.scripted_worker import ScriptedWorker, bound_worker, failure, result

pytestmark = pytest.mark.anyio


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
