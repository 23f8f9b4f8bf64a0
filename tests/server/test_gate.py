"""Claims about what every request passes: errors in one shape, ids, limits, routes."""

from collections.abc import MutableMapping
from pathlib import Path

import pytest

from inferpool.server.app import gated
from inferpool.server.gate import ServerParts
from inferpool.server.options import ServerOptions
from inferpool.server.request import Reply, Request, header_value
from inferpool.server.resource import Resource
from inferpool.server.routes import ROUTES, Route
from inferpool.server.site import Handler, Site
from tests.server.rig import JSON, Rig, new_id, running
from tests.server.scripted_worker import ScriptedWorker

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
NAMES = {"session_id": new_id(), "task_id": new_id(), "attempt": "1", "name:path": "a%2Fb", "token_id": new_id()}


def filled(path: str) -> str:
    """A route's path with something in the place of each parameter."""
    for name, value in NAMES.items():
        path = path.replace("{" + name + "}", value)
    return path


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.path != "/metrics"],  # in the text form of Prometheus
    ids=lambda route: f"{route.method} {route.path}",
)
async def test_every_route_of_the_table_but_the_metrics_is_served_in_json(rig: Rig, route: Route) -> None:
    answer = await rig.call(route.method, filled(route.path))
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.status in {200, 400, 403, 404}
    assert answer.status == 200 or answer.error["code"] != "method_not_allowed"
    assert "there is no /" not in str(answer.json)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_wrong_method_is_told_all_the_right_ones(rig: Rig, route: Route) -> None:
    answer = await rig.call("PATCH", filled(route.path))
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    allowed = {one.method for one in ROUTES if one.path == route.path}
    assert set(answer.headers["allow"].split(", ")) == allowed


def test_nobody_calls_a_route_without_a_right_but_those_of_health() -> None:
    assert [route.path for route in ROUTES if route.right is None] == ["/healthz", "/readyz"]


def test_no_route_is_in_the_table_twice() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/chat/completions/", "/v2/models", "/api/v1/nothing", "/%00"])
async def test_an_unknown_path_is_a_404(rig: Rig, path: str) -> None:
    answer = await rig.call("GET", path)
    assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_request_ids_differ(rig: Rig) -> None:
    ids = {(await rig.call("GET", "/healthz")).headers["x-request-id"] for _ in range(10)}
    assert len(ids) == 10


async def test_a_body_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with running(tmp_path, ServerOptions(max_body_bytes=100)) as rig:
        told = await rig.call("POST", CHAT, {**JSON, "content-length": "101"}, [b""])
        assert (told.status, told.error["code"], "101" in str(told.error["message"])) == (413, "too_large", True)
        untold = await rig.call("POST", CHAT, JSON, [b"x" * 60, b"x" * 60, b"never read"])
        assert (untold.status, untold.error["code"]) == (413, "too_large")
        fits = await rig.call("POST", CHAT, JSON, [b"x" * 50, b"x" * 50])
        assert fits.status == 400
        nonsense = await rig.call("POST", CHAT, {**JSON, "content-length": "ten"}, b"{}")
        assert (nonsense.status, nonsense.error["param"]) == (400, "Content-Length")
        assert await rig.rows() == 0


async def test_a_client_that_leaves_while_it_sends_is_forgotten(rig: Rig) -> None:
    sending = rig.open("POST", CHAT, {**JSON, "content-length": "100"}, [])
    sending.leave()
    await sending.over()
    assert rig.log.entries == []
    assert sending.writes == 0


async def break_down(site: Site, request: Request) -> Reply:
    raise RuntimeError("the words of a prompt")


async def break_off(site: Site, request: Request) -> None:
    await request.start(200, [])
    await request.write(b"data: x\n\n")
    raise RuntimeError("the words of a prompt")


def with_a_broken_route(rig: Rig, handler: Handler) -> Rig:
    """The same server with one more route, at `/breaks`."""
    site = Site(rig.dispatch, ServerOptions())
    app = gated(
        site, ServerParts(new_id, rig.log), {"/breaks": Resource(site, [Route("GET", "/breaks", handler, None)])}
    )
    return Rig(app, rig.dispatch, rig.clock, rig.log)


async def test_an_unexpected_error_is_logged_without_its_words(rig: Rig) -> None:
    answer = await with_a_broken_route(rig, break_down).call("GET", "/breaks")
    assert (answer.status, answer.error["code"]) == (500, "internal")
    assert b"prompt" not in answer.body
    ((event, fields),) = rig.log.entries
    assert (event, fields["error"], fields["method"]) == ("request failed", "RuntimeError", "GET")
    assert fields["request_id"] == answer.headers["x-request-id"]
    assert str(fields["place"]).rsplit(":", 1)[0].endswith("test_gate.py")
    assert "prompt" not in str(fields)


async def test_an_unexpected_error_in_a_stream_is_its_last_frame(rig: Rig) -> None:
    answer = await with_a_broken_route(rig, break_off).call("GET", "/breaks")
    assert answer.status == 200
    assert answer.body.startswith(b'data: x\n\ndata: {"error":{"message":"an unexpected error')


@pytest.mark.parametrize(
    ("value", "told"), [("text/plain", b"text/plain"), ("a\r\nb: c", b"a??b: c"), ("caf\xe9", b"caf?"), ("", b"")]
)
def test_a_header_cannot_break_out_of_its_line(value: str, told: bytes) -> None:
    assert header_value(value) == told


async def test_a_server_that_is_not_open_yet_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, ready=False) as rig:
        assert (await rig.call("GET", "/healthz")).json == {"status": "ok"}
        for path in ("/readyz", "/v1/models"):
            answer = await rig.call("GET", path)
            assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (
                503,
                "store_unavailable",
                "1",
            )
        await rig.dispatch.open()
        assert (await rig.call("GET", "/readyz")).json == {"status": "ready"}
        await rig.dispatch.drain(0)
        answer = await rig.call("GET", "/readyz")
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "shutting_down", "1")
        await rig.dispatch.close()
        assert (await rig.call("GET", "/readyz")).status == 503


BAD_CALLS: list[tuple[dict[str, str], bytes]] = [
    ({}, b""),
    ({}, b"{"),
    ({}, b"[]"),
    ({}, b'{"messages":[]}'),
    ({}, b'{"model":"m"}'),
    ({}, b'{"model":1,"messages":[]}'),
    ({}, b'{"model":"","messages":[]}'),
    ({}, b'{"model":"' + b"m" * 300 + b'","messages":[]}'),
    ({}, b'{"model":"m","model":"m","messages":[]}'),
    ({}, b'{"model":"m","messages":{}}'),
    ({}, b'{"model":"m","messages":[],"stream":"yes"}'),
    ({}, b'{"model":"m","messages":[],"stream_options":1}'),
    ({}, b'{"model":"m","messages":[],"service_tier":1}'),
    ({}, b'{"model":"m","messages":[],"metadata":{"a":1}}'),
    ({"inferpool-queue": "soon"}, b'{"model":"m","messages":[]}'),
    ({"inferpool-pin": "maybe"}, b'{"model":"m","messages":[]}'),
    ({"inferpool-on-disconnect": "x"}, b'{"model":"m","messages":[]}'),
    ({"idempotency-key": "k" * 256}, b'{"model":"m","messages":[]}'),
    ({"x-stainless-read-timeout": "x"}, b'{"model":"m","messages":[]}'),
]


@pytest.mark.parametrize(("headers", "body"), BAD_CALLS)
@pytest.mark.parametrize("native", [False, True])
async def test_no_refused_call_leaves_a_row(
    rig: Rig, worker: ScriptedWorker, headers: dict[str, str], body: bytes, native: bool
) -> None:
    if native and headers.keys() & {"x-stainless-read-timeout"}:
        body = b'{"model":1}'
    path = "/api/v1/inference-tasks" if native else CHAT
    sent = b'{"request":' + body + b"}" if native else body
    answer = await rig.call("POST", path, {**JSON, **headers}, sent)
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert await rig.rows() == 0


async def test_a_field_inside_the_request_is_named_with_its_place(rig: Rig, worker: ScriptedWorker) -> None:
    answer = await rig.post("/api/v1/inference-tasks", {"request": {"model": "m", "messages": 1}})
    assert answer.error["param"] == "request.messages"
    whole = await rig.post("/api/v1/inference-tasks", {"request": []})
    assert whole.error["param"] == "request"
    meta = await rig.post("/api/v1/inference-tasks", {"request": {"model": "m", "messages": []}, "metadata": {"": ""}})
    assert meta.error["param"] == "metadata"


class Conversation:
    """The server's side of a scope that is no HTTP request."""

    def __init__(self, *messages: str) -> None:
        self._messages = list(messages)
        self.heard: list[object] = []

    async def receive(self) -> MutableMapping[str, object]:
        return {"type": self._messages.pop(0)}

    async def send(self, message: MutableMapping[str, object]) -> None:
        self.heard.append(message["type"])


async def test_the_lifespan_is_answered(rig: Rig) -> None:
    said = Conversation("lifespan.startup", "lifespan.shutdown")
    await rig.app({"type": "lifespan", "state": {}}, said.receive, said.send)
    assert said.heard == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
