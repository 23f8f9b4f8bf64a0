"""Claims about the limits in `/openapi.json`: what they allow is taken, what they forbid is refused."""

import itertools
from typing import cast

import jsonschema_rs
import msgspec
import pytest

from inferpool.core.access import Role
from inferpool.server.document import document
from inferpool.server.documented import DOCS
from tests.server.rig import HOST, JSON, Rig, chat_body, new_id
from tests.server.scripted_worker import SECRET, ScriptedWorker
from tests.server.test_openapi import operation
from tests.server.tokens import bearer, token

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
TASKS = "/api/v1/inference-tasks"
SESSIONS = "/api/v1/sessions"
TOKENS = "/api/v1/tokens"
COMPONENTS = msgspec.json.decode(document())["components"]

Object = dict[str, object]


def fits(schema: object, value: object) -> bool:
    """Whether the document allows the value here."""
    return jsonschema_rs.Draft202012Validator({"allOf": [schema], "components": COMPONENTS}).is_valid(value)


def body_schema(title: str) -> object:
    content = cast("dict[str, dict[str, dict[str, Object]]]", operation(title)["requestBody"])["content"]
    return content["application/json"]["schema"]


def parameter(title: str, name: str) -> Object:
    parameters = cast("list[Object]", operation(title)["parameters"])
    return next(one for one in parameters if one["name"] == name)


def chat(**fields: object) -> Object:
    return {**chat_body("nobody"), **fields}


def task(**fields: object) -> Object:
    return {"request": chat_body("nobody"), **fields}


def registration(**fields: object) -> Object:
    return {"epoch": 1, "worker": {"name": "w"}, **fields}


def llm(**fields: object) -> Object:
    return registration(llms=[{"name": "n", "model": "n", "engine": "e", "slots": 1, **fields}])


def asked(**fields: object) -> Object:
    return {"role": "caller", "subject": "ann", **fields}


LABELS = [
    {"k" * 64: "v" * 512},
    {"k" * 65: ""},
    {"": ""},
    {"k": "v" * 513},
    {"k": 1},
    {f"k{number}": "" for number in range(16)},
    {f"k{number}": "" for number in range(17)},
]
WHOLE_ID = "0198a0f0-0000-7000-8000-000000000001"
BODIES: dict[str, list[Object]] = {
    **{path: [chat(metadata=labels) for labels in LABELS] for path in (CHAT, "/v1/completions", "/v1/responses")},
    TASKS: [
        *(task(metadata=labels) for labels in LABELS),
        *(task(endpoint=endpoint) for endpoint in ("a/b-c_1", "", "/a", "a//b", "A", "a" * 100, "a" * 101)),
        *(task(expires_in_s=value) for value in (0, -1, 0.001, 30 * 86_400, 30 * 86_400 + 1)),
        *(task(max_tries=value) for value in (0, 1, 100, 101)),
        {"request": None},
        {"request": []},
        {"request": "x"},
    ],
    SESSIONS: [
        *(registration(epoch=value) for value in (0, -1, 1)),
        *(registration(protocol=value) for value in (0, 1, 2)),
        *(registration(session_id=value) for value in ("", "x", WHOLE_ID, WHOLE_ID.upper())),
        *(registration(worker={"name": value}) for value in ("", "n" * 200, "n" * 201)),
        *(llm(name=value) for value in ("", "n" * 200, "n" * 201)),
        *(llm(tier=value) for value in ("", None, "n" * 201)),
        *(llm(pool_name=value) for value in ("", None, "n" * 201)),
        *(llm(model=value) for value in ("", "n" * 1000, "n" * 1001)),
        *(llm(engine=value) for value in ("", "n" * 1000, "n" * 1001)),
        *(llm(slots=value) for value in (-1, 0, 10_000, 10_001)),
        *(llm(endpoints=value) for value in (None, ["a/b"], ["/a"])),
    ],
    TOKENS: [
        *(asked(subject=value) for value in ("", "n" * 200, "n" * 201)),
        *(asked(expires_in_s=value) for value in (None, 0.5, 1, 3650 * 86_400, 3650 * 86_400 + 1)),
        *(asked(llms=value) for value in ([""], ["n" * 201], ["n"] * 100, ["n"] * 101)),
    ],
}


@pytest.mark.parametrize("path", BODIES)
async def test_a_body_is_taken_where_the_document_allows_it_refused_where_not(rig: Rig, path: str) -> None:
    headers = bearer((await token(rig, Role.ADMIN)).text)
    for body in BODIES[path]:
        answer = await rig.post(path, body, inferpool_session_secret=SECRET, **headers)
        refused = answer.status >= 400 and answer.error["code"] in {"invalid_request", "protocol_unsupported"}
        assert refused is not fits(body_schema(f"POST {path}"), body), (body, answer.body)


NUMBERS = [-(2**63) - 1, -(2**63), 0, 2**63 - 1, 2**63]


async def test_a_workers_numbers_are_those_that_a_database_holds(rig: Rig, worker: ScriptedWorker) -> None:
    one = {"task_id": "x", "attempt": 1}
    chunk, result = {"type": "chunk", "seq": 1, "data": ""}, {"type": "result", "status": 200, "content_type": "x"}
    llm_status = {"type": "llm_status", "llm_name": "x", "status": "active", "slots": 1}
    for event, fields in (
        (chunk, ("attempt", "seq")),
        (result, ("status", "last_seq")),
        (llm_status, ("slots", "revision")),
    ):
        for field, value in itertools.product(fields, NUMBERS):
            body: Object = {"events": [{**one, **event, field: value}]}
            answer = await rig.post(worker.path + "/events", body, **worker.headers)
            assert answer.status in {200, 400}
            assert (answer.status == 200) is fits(body_schema(f"POST {SESSIONS}/{{session_id}}/events"), body), (
                answer.body
            )


@pytest.mark.parametrize("accept", ["", "*/*", "application/openmetrics-text; version=1.0.0"])
async def test_the_form_of_the_metrics_is_a_documented_one(rig: Rig, accept: str) -> None:
    answer = await rig.call("GET", "/metrics", {**HOST, "accept": accept})
    assert answer.headers["content-type"].split(";")[0] in DOCS["GET /metrics"].media


async def test_a_batch_without_a_body_is_a_heartbeat(rig: Rig, worker: ScriptedWorker) -> None:
    answer = await rig.call("POST", worker.path + "/events", {**HOST, **worker.headers})
    assert (answer.status, answer.json) == (200, {"refused": []})
    body = cast("Object", operation(f"POST {SESSIONS}/{{session_id}}/events")["requestBody"])
    assert body["required"] is False


async def test_an_event_of_a_newer_worker_is_ignored(rig: Rig, worker: ScriptedWorker) -> None:
    for event, known in (({"type": "novelty"}, True), ({"type": "chunk"}, False), ({"type": 7}, False), ({}, False)):
        body: Object = {"events": [event]}
        answer = await rig.post(worker.path + "/events", body, **worker.headers)
        assert (answer.status == 200) is known
        assert fits(body_schema(f"POST {SESSIONS}/{{session_id}}/events"), body) is known


QUERIES = [
    *((f"GET {path}", "cursor", value) for path in (TASKS, SESSIONS, TOKENS) for value in ("0", WHOLE_ID)),
    *((f"GET {TASKS}", "limit", value) for value in ("1", "1000")),
    *(("GET /api/v1/llms", "cursor", value) for value in ("0", "any name")),
]


@pytest.mark.parametrize(("title", "name", "value"), QUERIES)
async def test_a_parameter_is_taken_where_the_document_allows_it_refused_where_not(
    rig: Rig, title: str, name: str, value: str
) -> None:
    answer = await rig.call("GET", f"{title.split(' ')[1]}?{name}={value}")
    told = int(value) if name == "limit" else value
    assert (answer.status == 200) is fits(parameter(title, name)["schema"], told), answer.body


@pytest.mark.parametrize("query", ["pool=", "status=gone", "limit=0", "cursor=1", "from=soon"])
async def test_a_wrong_filter_is_told_to_those_too_who_would_see_nothing(rig: Rig, query: str) -> None:
    headers = {**HOST, **bearer((await token(rig, Role.CALLER)).text)}
    assert (await rig.call("GET", f"{TASKS}?owner=another", headers)).json["data"] == []
    assert (await rig.call("GET", f"{TASKS}?owner=another&{query}", headers)).status == 400


@pytest.mark.parametrize("value", ["true", "false", "1", "0", "yes"])
async def test_a_flag_has_two_words_for_each_side(rig: Rig, worker: ScriptedWorker, value: str) -> None:
    call = rig.chat()
    infer = await worker.infer()
    await worker.answer(infer)
    await call.whole()
    answer = await rig.call("DELETE", f"{TASKS}/{infer.task_id}?purge={value}")
    assert (answer.status != 400) is fits(parameter(f"DELETE {TASKS}/{{task_id}}", "purge")["schema"], value)


@pytest.mark.parametrize("value", ["1-1", "1-0", "7-end", "", "0-1", "01-1", "1-01", ".", "1-", "9" * 19 + "-1"])
async def test_a_last_event_id_is_as_the_stream_sends_them(rig: Rig, worker: ScriptedWorker, value: str) -> None:
    call = rig.chat()
    infer = await worker.infer()
    await worker.answer(infer)
    await call.whole()
    answer = await rig.call("GET", f"{TASKS}/{infer.task_id}/stream", {**HOST, "last-event-id": value})
    title = f"GET {TASKS}/{{task_id}}/stream"
    assert (answer.status != 400) is fits(parameter(title, "Last-Event-ID")["schema"], value)


@pytest.mark.parametrize("title", [title for title, doc in DOCS.items() if doc.required])
async def test_without_a_header_that_must_be_there_a_session_route_does_nothing(
    rig: Rig, worker: ScriptedWorker, title: str
) -> None:
    method, path = title.split(" ")
    path = path.format(session_id=worker.session_id, task_id=new_id(), attempt=1)
    for name in DOCS[title].required:
        assert parameter(title, name)["required"] is True
        given = {key: value for key, value in worker.headers.items() if key != name.lower()}
        answer = await rig.call(method, path, {**JSON, **given}, b"{}" if method == "POST" else b"")
        assert answer.status in {400, 403}


def test_an_engines_answer_may_come_in_any_form() -> None:
    for title, doc in DOCS.items():
        responses = cast("dict[str, dict[str, Object]]", operation(title)["responses"])
        open_ended = {status for status, told in responses.items() if "*/*" in told["content"]}
        assert open_ended - {"200"} == (set(responses) - {"200", "401", "403"} if doc.engine else set())
        assert ("200" in open_ended) is (doc.engine or doc.media == ("*/*",))


def test_a_link_leads_to_a_parameter_that_the_route_has() -> None:
    for doc in DOCS.values():
        for title, (name, place) in doc.links.items():
            assert parameter(title, name)["in"] == "path"
            assert place.startswith("/")
