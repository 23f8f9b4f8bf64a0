"""Claims about `/openapi.json`: it has every route, what it says of an answer is so."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import jsonschema_rs
import msgspec
import pytest

from inferpool.server.document import document
from inferpool.server.documented import DOCS
from inferpool.server.routes import ROUTES, Route
from tests.server.rig import HOST, JSON, Answer, Rig, chat_body, new_id, running
from tests.server.scripted_worker import ScriptedWorker, bound_worker

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/inference-tasks"
DOCUMENT: dict[str, dict[str, dict[str, dict[str, object]]]] = msgspec.json.decode(document())


def operation(title: str) -> dict[str, object]:
    method, path = title.split(" ")
    return DOCUMENT["paths"][path][method.lower()]


def schema_of(title: str, status: int) -> dict[str, object]:
    """The schema of a route's JSON answer, with what it refers to."""
    responses = cast("dict[str, dict[str, dict[str, dict[str, object]]]]", operation(title)["responses"])
    schema = responses[str(status)]["content"]["application/json"]["schema"]
    return {"allOf": [schema], "components": DOCUMENT["components"]}


def check(title: str, answer: Answer) -> None:
    """The answer is as the document says."""
    validator = jsonschema_rs.Draft202012Validator(schema_of(title, answer.status))
    assert [error.message for error in validator.iter_errors(answer.json)] == []


def test_every_route_is_described_none_is_invented() -> None:
    routes = sorted(route.title for route in ROUTES)
    told = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]
    assert sorted(DOCS) == sorted(told) == routes


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.title)
def test_an_operation_says_what_it_does_under_a_name_of_its_own(route: Route) -> None:
    described = operation(route.title)
    ids = [one["operationId"] for methods in DOCUMENT["paths"].values() for one in methods.values()]
    assert ids.count(described["operationId"]) == 1
    assert described["summary"]
    parameters = cast("list[dict[str, object]]", described["parameters"])
    in_path = {str(one["name"]) for one in parameters if one["in"] == "path"}
    assert in_path == {part[1:-1] for part in route.title.split("/") if part.startswith("{")}


def test_every_reference_leads_somewhere() -> None:
    for title in DOCS:
        responses = cast("dict[str, dict[str, dict[str, object]]]", operation(title)["responses"])
        for status, response in responses.items():
            if status != "default" and "application/json" in response["content"]:
                jsonschema_rs.Draft202012Validator(schema_of(title, int(status)))


@pytest.mark.parametrize("title", [title for title, doc in DOCS.items() if doc.query and title.startswith("GET")])
async def test_every_documented_parameter_is_taken_another_is_not(rig: Rig, title: str) -> None:
    path = title.split(" ")[1].replace("{task_id}", new_id())
    for name in DOCS[title].query:
        answer = await rig.call("GET", f"{path}?{name}=")
        assert f"not '{name}'" not in str(answer.body)
    assert (await rig.call("GET", f"{path}?novelty=1")).error["param"] == "novelty"


# ---- real answers -----------------------------------------------------------------------------------------------------


class Town:
    """A server that has some of everything."""

    def __init__(self, rig: Rig, worker: ScriptedWorker) -> None:
        self.rig = rig
        self.worker = worker
        self.ended = self.failed = self.waiting = ""

    async def settle(self) -> None:
        """One task answered, one refused by its engine, one that waits."""
        call = self.rig.chat(stream=True, metadata={"a": "b"})
        infer = await self.worker.infer()
        await self.worker.begin(infer, "{}")
        await self.worker.answer(infer, 200, '{"usage":{"prompt_tokens":1}}', last_seq=1)
        await call.whole()
        self.ended = infer.task_id
        refused = self.rig.chat()
        infer = await self.worker.infer()
        await self.worker.answer(infer, 400, "<html>")
        await refused.whole()
        self.failed = infer.task_id
        await self.rig.post(TASKS, {"request": chat_body()})
        await self.worker.infer()
        queued = await self.rig.post(TASKS, {"request": chat_body()})
        self.waiting = str(queued.json["id"])

    async def get(self, path: str) -> Answer:
        return await self.rig.call("GET", path, {**HOST, **self.worker.headers})


@pytest.fixture
async def town(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with running(tmp_path) as rig:
        town = Town(rig, await bound_worker(rig, slots=1, tier="fast"))
        await town.settle()
        yield town


async def test_what_is_read_is_as_described(town: Town) -> None:
    for task_id in (town.ended, town.failed, town.waiting):
        check(f"GET {TASKS}/{{task_id}}", await town.get(f"{TASKS}/{task_id}"))
        check(f"GET {TASKS}/{{task_id}}/attempts", await town.get(f"{TASKS}/{task_id}/attempts"))
    for path in ("/v1/models", TASKS, "/api/v1/llms", "/api/v1/pools", "/api/v1/sessions", "/api/v1/tokens"):
        answer = await town.get(path)
        assert answer.json["data"] or path == "/api/v1/tokens"
        check(f"GET {path}", answer)
    for path in ("/v1/models", "/api/v1/llms", "/api/v1/pools"):
        check(f"GET {path}/{{name}}", await town.get(f"{path}/m"))
    check("GET /api/v1/sessions/{session_id}", await town.get(town.worker.path))
    check("GET /api/v1/audit", await town.get("/api/v1/audit"))
    for path in ("/healthz", "/readyz", "/openapi.json"):
        check(f"GET {path}", await town.get(path))


async def test_what_is_changed_is_answered_as_described(town: Town) -> None:
    made = await town.rig.post(TASKS, {"request": chat_body()})
    assert made.status == 202
    check(f"POST {TASKS}", made)
    check(f"DELETE {TASKS}/{{task_id}}", await town.rig.call("DELETE", f"{TASKS}/{town.waiting}"))
    check(f"POST {TASKS}/{{task_id}}/replay", await town.rig.call("POST", f"{TASKS}/{town.failed}/replay"))
    assert (await town.rig.call("DELETE", f"{TASKS}/{town.ended}?purge=true")).status == 204
    check("POST /api/v1/sessions/{session_id}/events", await town.worker.say())
    refused = {"type": "chunk", "task_id": new_id(), "attempt": 1, "seq": 1, "data": "x"}
    check("POST /api/v1/sessions/{session_id}/events", await town.worker.say(refused))
    check("POST /api/v1/sessions", await town.worker.register())


async def test_a_token_is_answered_as_described(town: Town) -> None:
    made = await town.rig.post("/api/v1/tokens", {"role": "admin", "subject": "ann"})
    check("POST /api/v1/tokens", made)
    bearer = {**HOST, "authorization": f"Bearer {made.json['token']}"}
    path = f"/api/v1/tokens/{made.json['id']}"
    check("GET /api/v1/tokens/{token_id}", await town.rig.call("GET", path, bearer))
    check("DELETE /api/v1/tokens/{token_id}", await town.rig.call("DELETE", path, bearer))


async def test_a_refusal_is_as_described(town: Town) -> None:
    gone = new_id()
    for title, answer in (
        (f"GET {TASKS}", await town.get(f"{TASKS}?limit=0")),
        (f"GET {TASKS}/{{task_id}}", await town.get(f"{TASKS}/{gone}")),
        (f"POST {TASKS}/{{task_id}}/replay", await town.rig.call("POST", f"{TASKS}/{town.ended}/replay")),
        ("POST /v1/chat/completions", await town.rig.post("/v1/chat/completions", chat_body("nobody"))),
        ("POST /v1/messages", await town.rig.post("/v1/messages", chat_body("nobody"))),
        ("POST /v1/embeddings", await town.rig.call("POST", "/v1/embeddings", HOST, b"{}")),
        ("GET /v1/models", await town.rig.call("GET", "/v1/models", {"host": "example.com"})),
        ("POST /api/v1/sessions", await town.rig.call("POST", "/api/v1/sessions", JSON, b'{"protocol":2}')),
    ):
        assert answer.status >= 400
        check(title, answer)
