"""Who may call what: every route in every role, with an object of one's own, with another's.

The table below is written by hand from spec section 8; the routes with their rights stand in the code. Neither knows the other.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inferpool.core.access import Role
from inferpool.server.routes import ROUTES, Route
from tests.server.rig import HOST, JSON, Answer
from tests.server.tokens import LLMS, SUBJECTS, Town, bearer, settled

pytestmark = pytest.mark.anyio

CALLS = "ok ok  403 403  ok ok"
TASK = "ok ok  404 404  ok 404"
TASKS = "ok ok  403 403  ok ok"
SESSION = "ok ok  ok 404  404 404"
SESSIONS = "ok ok  ok ok  403 403"
SEEN_BY_ALL = "ok ok  ok ok  ok ok"
ADMINS_THING = "ok ok  404 404  404 404"
ADMINS_LIST = "ok ok  403 403  403 403"

TABLE = {
    "POST /v1/chat/completions": CALLS,
    "POST /v1/completions": CALLS,
    "POST /v1/embeddings": CALLS,
    "POST /v1/rerank": CALLS,
    "POST /v1/messages": CALLS,
    "POST /v1/messages/count_tokens": CALLS,
    "POST /v1/responses": CALLS,
    "POST /v1/audio/speech": CALLS,
    "POST /v1/audio/transcriptions": CALLS,
    "POST /v1/audio/translations": CALLS,
    "POST /api/v1/llms/{name}/infer": CALLS,
    "POST /api/v1/inference-tasks": CALLS,
    "GET /api/v1/inference-tasks": TASKS,
    "GET /api/v1/inference-tasks/{task_id}": TASK,
    "DELETE /api/v1/inference-tasks/{task_id}": TASK,
    "GET /api/v1/inference-tasks/{task_id}/stream": TASK,
    "POST /api/v1/inference-tasks/{task_id}/replay": TASK,
    "GET /api/v1/inference-tasks/{task_id}/attempts": TASK,
    "GET /v1/models": SEEN_BY_ALL,
    "GET /v1/models/{name}": SEEN_BY_ALL,
    "GET /api/v1/llms": SEEN_BY_ALL,
    "GET /api/v1/llms/{name}": SEEN_BY_ALL,
    "GET /api/v1/pools": SEEN_BY_ALL,
    "GET /api/v1/pools/{name}": SEEN_BY_ALL,
    "GET /openapi.json": SEEN_BY_ALL,
    "POST /api/v1/sessions": SESSIONS,
    "GET /api/v1/sessions": SESSIONS,
    "GET /api/v1/sessions/{session_id}": SESSION,
    "DELETE /api/v1/sessions/{session_id}": SESSION,
    "GET /api/v1/sessions/{session_id}/channel": SESSION,
    "POST /api/v1/sessions/{session_id}/events": SESSION,
    "GET /api/v1/sessions/{session_id}/requests/{task_id}/{attempt}": SESSION,
    "GET /metrics": ADMINS_LIST,
    "POST /api/v1/tokens": ADMINS_LIST,
    "GET /api/v1/tokens": ADMINS_LIST,
    "GET /api/v1/tokens/{token_id}": ADMINS_THING,
    "DELETE /api/v1/tokens/{token_id}": ADMINS_THING,
    "GET /api/v1/audit": ADMINS_LIST,
    "GET /healthz": SEEN_BY_ALL,
    "GET /readyz": SEEN_BY_ALL,
}
"""In the order: admin, publisher, caller; each with an object of its own, with another's."""

LET_IN = {200, 201, 202, 204, 400, 409, 415}
"""What comes after the right: an answer, or a word on the body, which here is always a wrong one."""


@pytest.fixture
async def town(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with settled(tmp_path) as made:
        yield made


def path_of(route: Route, town: Town, owner: str) -> str:
    """The route's path to the objects of that owner."""
    objects = {
        "task_id": town.tasks[owner],
        "session_id": town.workers[owner].session_id,
        "token_id": town.tokens[Role.CALLER, owner].token.id,
        "attempt": "1",
        "name:path": LLMS[owner],
    }
    path = route.path
    for name, value in objects.items():
        path = path.replace("{" + name + "}", value)
    return path


async def asked(town: Town, route: Route, owner: str, headers: dict[str, str]) -> Answer:
    """What the route answers; a stream as far as its head."""
    worker = town.workers[owner]
    spoken = worker.headers if "/sessions/" in route.path else {}
    body = b"{}" if route.method == "POST" and not route.path.endswith("/events") else b""
    exchange = town.rig.open(route.method, path_of(route, town, owner), {**JSON, **spoken, **headers}, body)
    status, answered = await exchange.head()
    if answered.get("content-type", "").startswith("text/event-stream"):
        exchange.leave()
        await exchange.over()
        return Answer(status, answered, b"")
    return Answer(status, answered, await exchange.rest())


def test_the_table_knows_every_route() -> None:
    assert sorted(TABLE) == sorted(route.title for route in ROUTES)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.title)
async def test_each_role_may_what_the_table_says(town: Town, route: Route, role: Role) -> None:
    first = 2 * list(Role).index(role)
    expected = dict(zip(SUBJECTS, TABLE[route.title].split()[first : first + 2], strict=True))
    if "/sessions/" in route.path:
        for subject in SUBJECTS:
            await _hold(town, subject, bound="/requests/" in route.path)
    for owner, word in reversed(expected.items()):
        answer = await asked(town, route, owner, town.headers(role))
        if word == "ok":
            assert answer.status in LET_IN, answer.body
        else:
            assert str(answer.status) == word, answer.body
            assert answer.error["code"] == {"403": "forbidden", "404": "not_found"}[word]


async def _hold(town: Town, subject: str, *, bound: bool) -> None:
    """Let the subject's worker hold its task."""
    if bound:
        await town.workers[subject].bind()
        await town.workers[subject].infer()


@pytest.mark.parametrize("headers", [{}, bearer("ip_guessed"), bearer(""), {"authorization": "Basic aXA6"}])
async def test_without_a_valid_token_only_health_answers(town: Town, headers: dict[str, str]) -> None:
    for route in ROUTES:
        answer = await town.rig.call(route.method, path_of(route, town, "own"), {**HOST, **headers})
        if route.right is None:
            assert answer.status == 200
        else:
            assert (answer.status, answer.error["code"]) == (401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_without_a_token_one_does_not_learn_which_paths_there_are(town: Town) -> None:
    assert (await town.rig.call("GET", "/api/v1/nothing")).status == 401


async def test_what_is_hidden_answers_as_what_is_not_there(town: Town) -> None:
    hidden = await town.get(Role.CALLER, "own", f"/api/v1/inference-tasks/{town.tasks['other']}")
    absent_id = town.tasks["other"][:-4] + "0000"
    absent = await town.get(Role.CALLER, "own", f"/api/v1/inference-tasks/{absent_id}")
    assert hidden.status == absent.status == 404
    assert hidden.body.replace(town.tasks["other"].encode(), b"") == absent.body.replace(absent_id.encode(), b"")


async def test_each_sees_its_own_in_lists_an_admin_all(town: Town) -> None:
    path = "/api/v1/inference-tasks"
    own, other = town.tasks["own"], town.tasks["other"]
    assert ids(await town.get(Role.CALLER, "own", path)) == [own]
    assert ids(await town.get(Role.ADMIN, "own", path)) == [other, own]
    assert ids(await town.get(Role.ADMIN, "own", path + "?owner=other")) == [other]
    assert ids(await town.get(Role.CALLER, "own", path + "?owner=own")) == [own]
    assert ids(await town.get(Role.CALLER, "own", path + "?owner=other")) == []
    sessions = [town.workers[subject].session_id for subject in SUBJECTS]
    assert ids(await town.get(Role.PUBLISHER, "own", "/api/v1/sessions")) == sessions[:1]
    assert ids(await town.get(Role.ADMIN, "own", "/api/v1/sessions")) == sessions[::-1]


def ids(answer: Answer) -> list[object]:
    data = answer.json["data"]
    assert isinstance(data, list)
    return [one["id"] for one in data]


async def test_a_body_cannot_name_another_owner(town: Town) -> None:
    request = {"model": "m", "messages": [], "user": "other"}
    made = await town.post(Role.CALLER, "own", "/api/v1/inference-tasks", {"request": request})
    assert made.json["owner"] == "own"


async def test_an_owner_lets_its_session_leave_without_the_secret(town: Town) -> None:
    path = town.workers["own"].path
    assert (await town.delete(Role.PUBLISHER, "other", path)).status == 404
    assert (await town.delete(Role.CALLER, "own", path)).status == 404
    assert (await town.delete(Role.PUBLISHER, "own", path)).status == 204


async def test_a_session_id_of_another_subject_is_refused_with_its_secret_too(town: Town) -> None:
    worker = town.workers["own"]
    worker.token = town.headers(Role.PUBLISHER, "other")
    answer = await worker.register(("m",))
    assert (answer.status, answer.error["code"]) == (403, "forbidden")


async def test_a_name_that_another_subject_publishes_is_not_taken_over(town: Town) -> None:
    worker = town.workers["other"]
    answer = await worker.register(("m", "n"))
    assert (answer.status, answer.error["code"]) == (409, "name_in_use")
    await town.delete(Role.PUBLISHER, "own", town.workers["own"].path)
    assert (await worker.register(("m", "n"))).status == 409
