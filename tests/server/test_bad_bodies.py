"""Claims about bodies, headers, parameters that no caller should send: told with the remedy, no trace left."""

from pathlib import Path

import msgspec
import pytest

from inferpool.dispatch.options import DispatchOptions
from inferpool.server.options import ServerOptions
from inferpool.wire.openai import ENDPOINTS
from tests.server.refusals import refused
from tests.server.rig import HOST, JSON, Rig, chat_body, running
from tests.server.scripted_worker import ScriptedWorker, bound_worker

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
TASKS = "/api/v1/inference-tasks"
SESSIONS = "/api/v1/sessions"


HALF = rb"\ud83d"
BROKEN = [
    (b"", "truncated"),
    (b"nonsense", "byte 4"),
    (b'{"model":"m","messages":[],}', "byte"),
    (b'{"model":"m","messages":[]}{}', "trailing"),
    (b"\xef\xbb\xbf" + b'{"model":"m","messages":[]}', "byte 0"),
    (b'{"model":"m","messages":[NaN]}', "byte"),
    (b'{"model":"m","messages":["\x01"]}', "byte"),
    (b'{"model":"m","messages":["\xff"]}', "byte 26"),
    (b'{"model":"m","messages":["\xed\xa0\xbd"]}', "byte 26"),
    (b'{"model":"m","messages":["' + HALF + b'"]}', r"\ud83d at byte 26"),
    (b'{"model":"m","messages":["' + rb"\ude00" + b'"]}', r"\ude00 at byte 26"),
    (b'{"model":"m","messages":[],"' + HALF + b'":1}', "half of a character"),
    (b'{"model":"' + HALF + b'","messages":[]}', "half of a character"),
    (b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    (b'{"model":"m","messages":[],"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", "nested too deeply"),
    (b'{"model":"m","messages":[],"model":"m"}', "twice"),
    (rb'{"model":"m","messages":[],"mod\u0065l":"m"}', "twice"),
]


@pytest.mark.parametrize(("body", "said"), BROKEN)
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/api/v1/llms/m/infer"])
async def test_a_broken_body_says_where(rig: Rig, worker: ScriptedWorker, path: str, body: bytes, said: str) -> None:
    message = await refused(rig, await rig.call("POST", path, JSON, body), 400, "invalid_request")
    assert said in message


@pytest.mark.parametrize(("body", "said"), BROKEN[1:])
async def test_a_broken_body_inside_a_task_says_where_too(
    rig: Rig, worker: ScriptedWorker, body: bytes, said: str
) -> None:
    answer = await rig.call("POST", TASKS, JSON, b'{"request":' + body + b"}")
    await refused(rig, answer, 400, "invalid_request")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_every_endpoint_names_a_field_of_the_wrong_kind(rig: Rig, worker: ScriptedWorker, endpoint: str) -> None:
    for field, value in (("model", 1), ("model", None), ("model", ""), ("model", "m" * 300), ("stream", "yes")):
        body = {**chat_body(), field: value}
        answer = await rig.post(f"/v1/{endpoint}", body)
        message = await refused(rig, answer, 400, "invalid_request")
        assert answer.error["param"] == field
        assert field in message


async def test_half_a_character_is_found_among_whole_ones(rig: Rig, worker: ScriptedWorker) -> None:
    whole = rb"\ud83d\ude00 \\ud83d "
    answer = await rig.call("POST", CHAT, JSON, b'{"model":"m","messages":["' + whole + HALF + b'"]}')
    assert rf"\ud83d at byte {26 + len(whole)}" in await refused(rig, answer, 400, "invalid_request")


async def test_nul_and_whole_characters_pass_untouched(rig: Rig, worker: ScriptedWorker) -> None:
    for text in (rb"\u0000", rb"\ud83d\ude00", rb"\\ud83d", "\N{GRINNING FACE}\N{DESERET SMALL LETTER EW}".encode()):
        body = b'{"model":"m","messages":["' + text + b'"],"metadata":{"k":"a\\u0000b"}}'
        call = rig.open("POST", CHAT, JSON, body)
        infer = await worker.infer()
        assert (infer.request or "").encode() == body
        await worker.answer(infer, 200, '{"text":"\\u0000"}')
        answer = await call.whole()
        assert answer.body == b'{"text":"\\u0000"}'
        task = (await rig.call("GET", f"{TASKS}/{infer.task_id}")).json
        assert task["metadata"] == {"k": "a\0b"}


async def test_unknown_fields_are_kept_whatever_they_hold(rig: Rig, worker: ScriptedWorker) -> None:
    body = b'{"novelty":{"a":[1e999,12345678901234567890]},"model":"m","messages":[],"tools":7,"n":1.10}'
    call = rig.open("POST", CHAT, JSON, body)
    infer = await worker.infer()
    assert (infer.request or "").encode() == body
    await worker.answer(infer, 200, '{"novelty":[1.10]}')
    assert (await call.whole()).body == b'{"novelty":[1.10]}'


async def test_a_prompt_of_a_megabyte_passes_untouched(rig: Rig, worker: ScriptedWorker) -> None:
    body = msgspec.json.encode(chat_body(filler="\N{SNOWMAN}" * 350_000))
    call = rig.open("POST", CHAT, JSON, [body[:500_000], body[500_000:]])
    infer = await worker.infer()
    assert infer.request_url is not None
    assert (await rig.call("GET", infer.request_url, {**HOST, **worker.headers})).body == body
    await worker.answer(infer)
    assert (await call.whole()).status == 200


def test_bodies_are_taken_up_to_32_megabytes() -> None:
    assert ServerOptions().max_body_bytes == 32 * 2**20


@pytest.mark.parametrize("path", [CHAT, TASKS, "/v1/audio/transcriptions", "/api/v1/llms/m/infer"])
async def test_a_body_over_the_limit_is_told_the_limit(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, ServerOptions(max_body_bytes=1000)) as rig:
        await bound_worker(rig)
        kind = {**HOST, "content-type": "multipart/form-data; boundary=b"} if "audio" in path else JSON
        for body in (b"x" * 1001, [b"x" * 600, b"x" * 600]):
            message = await refused(rig, await rig.call("POST", path, kind, body), 413, "too_large")
            assert "1000" in message


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/json; charset=utf-16", ""])
async def test_another_media_type_is_told_the_right_one(rig: Rig, worker: ScriptedWorker, kind: str) -> None:
    for path in (CHAT, TASKS, SESSIONS, "/api/v1/llms/m/infer"):
        answer = await rig.call("POST", path, {**HOST, "content-type": kind}, b"{}")
        message = await refused(rig, answer, 415, "unsupported_media_type")
        assert "application/json" in message


async def test_a_form_on_a_route_of_json_is_told_so(rig: Rig, worker: ScriptedWorker) -> None:
    kind = {**HOST, "content-type": "multipart/form-data; boundary=b"}
    for path in (CHAT, TASKS, SESSIONS, worker.path + "/events"):
        answer = await rig.call("POST", path, {**kind, **worker.headers}, b"--b--")
        await refused(rig, answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("options", [DispatchOptions(queue_tasks=1), DispatchOptions(queue_bytes=100)])
async def test_a_full_queue_says_when_to_come_again(tmp_path: Path, options: DispatchOptions) -> None:
    async with running(tmp_path, dispatch=options) as rig:
        worker = await bound_worker(rig, slots=1)
        call = rig.chat()
        infer = await worker.infer()
        first = await rig.post(TASKS, {"request": chat_body()})
        assert first.status == 202
        for path, body in ((CHAT, chat_body()), (TASKS, {"request": chat_body()}), ("/v1/messages", chat_body())):
            answer = await rig.post(path, body)
            assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "queue_full", "10")
        assert await rig.rows() == 2
        await worker.answer(infer)
        assert (await call.whole()).status == 200
        await worker.answer(await worker.infer())
        assert (await rig.post(TASKS, {"request": chat_body()})).status == 202


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Inferpool-Queue", "sometimes"),
        ("Inferpool-Pin", "yes"),
        ("Inferpool-On-Disconnect", "maybe"),
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "caf\xe9"),
        ("Idempotency-Key", "k" * 256),
        ("X-Stainless-Read-Timeout", "-1"),
        ("X-Stainless-Timeout", "soon"),
        ("X-Stainless-Timeout", "inf"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings", "/v1/messages", "/api/v1/llms/m/infer"])
async def test_a_wrong_header_is_named(rig: Rig, worker: ScriptedWorker, path: str, name: str, value: str) -> None:
    answer = await rig.call("POST", path, {**JSON, name: value}, b'{"model":"m","messages":[]}')
    await refused(rig, answer, 400, "invalid_request")
    assert str(answer.error["param"]).lower() == name.lower()


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("cursor=%00", "cursor"),
        ("cursor=1", "cursor"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=%D9%A1", "limit"),
        ("status=gone", "status"),
        ("from=yesterday", "from"),
        ("to=2026-01-01T00:00:00", "to"),
        ("from=9999999-01-01T00:00:00Z", "from"),
        ("owner=", "owner"),
        ("pool=a&pool=b", "pool"),
        ("novelty=1", "novelty"),
    ],
)
async def test_a_wrong_parameter_of_a_list_is_named(rig: Rig, query: str, param: str) -> None:
    answer = await rig.call("GET", f"{TASKS}?{query}")
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize("query", ["owner=%00", "pool=%FF", "llm=%F0%9F%A6%99", "agent=%27%3B--"])
async def test_a_strange_filter_finds_nothing(rig: Rig, query: str) -> None:
    answer = await rig.call("GET", f"{TASKS}?{query}")
    assert answer.json == {"data": [], "next_cursor": None}
