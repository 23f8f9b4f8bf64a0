"""Claims about names: any one works in every route, one that is not there is told with the nearest."""

from urllib.parse import quote

import msgspec
import pytest

from inferpool.server.routes import ROUTES
from tests.server.refusals import refused
from tests.server.rig import JSON, Rig, chat_body
from tests.server.scripted_worker import bound_worker

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
TASKS = "/api/v1/inference-tasks"
SESSIONS = "/api/v1/sessions"


NAMES = ["hf.co/x/y:Q4@box", "a b", "gemma3:27b", "\N{LLAMA} älg", "100%", "a?b#c", "..", "a//b", "trailing/"]


NAMED = {
    "GET /v1/models/{name}",
    "GET /api/v1/llms/{name}",
    "GET /api/v1/pools/{name}",
    "POST /api/v1/llms/{name}/infer",
}
"""The routes that are asked below."""


def test_no_route_with_a_name_is_forgotten_here() -> None:
    assert {route.title for route in ROUTES if "{name" in route.path} == NAMED


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_works_in_every_route(rig: Rig, name: str) -> None:
    worker = await bound_worker(rig, name)
    encoded = quote(name, safe="")
    for path in sorted(title.split(" ")[1] for title in NAMED if title.startswith("GET")):
        answer = await rig.call("GET", path.format(name=encoded))
        assert (answer.status, name in (answer.json.get("name"), answer.json.get("id"))) == (200, True)
    call = rig.open("POST", f"/api/v1/llms/{encoded}/infer", JSON, b'{"messages":[]}')
    infer = await worker.infer()
    assert infer.llm_name == name
    await worker.answer(infer)
    assert (await call.whole()).status == 200
    direct = rig.chat(name)
    await worker.answer(await worker.infer())
    assert (await direct.whole()).status == 200
    found = await rig.call("GET", f"{TASKS}?pool={encoded}")
    assert len(msgspec.json.decode(found.body)["data"]) == 2


@pytest.mark.parametrize("name", [*NAMES, "\0", "m\0", "x" * 5000, "'; DROP TABLE tasks; --"])
async def test_a_name_that_is_not_there_is_a_404_in_every_route(rig: Rig, name: str) -> None:
    encoded = quote(name, safe="")
    for method, path in (title.split(" ") for title in NAMED):
        asked = path.format(name=encoded)
        answer = await rig.call(method, asked, JSON, b'{"messages":[]}' if method == "POST" else b"")
        assert answer.status in ({404} if len(name) < 300 else {404, 400}), path
        assert len(str(answer.error["message"])) < 1000


async def test_an_unknown_model_is_told_the_nearest_ones(rig: Rig) -> None:
    await bound_worker(rig, "qwen3-32b", "llama-3.3", "gemma3")
    message = await refused(rig, await rig.post(CHAT, chat_body("qwen-32b")), 404, "model_not_found")
    assert "'qwen3-32b'" in message
    for strange in ("\0", "\N{LLAMA}", "x" * 200):
        await refused(rig, await rig.post(CHAT, chat_body(strange)), 404, "model_not_found")


@pytest.mark.parametrize(
    ("llm", "param"),
    [
        ({"name": ""}, "llms[0].name"),
        ({"name": " m"}, "llms[0].name"),
        ({"name": "m\0"}, "llms[0].name"),
        ({"name": "m\nn"}, "llms[0].name"),
        ({"name": "x" * 201}, "llms[0].name"),
        ({"name": "tier:x"}, "llms[0].name"),
        ({"name": "agent:x"}, "llms[0].name"),
        ({"name": "m/infer"}, "llms[0].name"),
        ({"pool_name": ""}, "llms[0].pool_name"),
        ({"tier": "\0"}, "llms[0].tier"),
        ({"model": ""}, "llms[0].model"),
        ({"model": "x" * 1001}, "llms[0].model"),
        ({"engine": "x" * 1001}, "llms[0].engine"),
        ({"slots": 10_001}, "llms[0].slots"),
        ({"slots": 2**70}, "llms[0].slots"),
        ({"endpoints": ["../admin"]}, "llms[0].endpoints"),
        ({"endpoints": "chat/completions"}, "llms[0].endpoints"),
        ({"extra": {"a": 1}}, "llms[0].extra[...]"),
    ],
)
async def test_an_llm_that_cannot_be_published_is_told_why(rig: Rig, llm: dict[str, object], param: str) -> None:
    body = {
        "protocol": 1,
        "epoch": 1,
        "worker": {"name": "box"},
        "llms": [{"name": "m", "model": "m", "engine": "e", "slots": 1, **llm}],
    }
    answer = await rig.post(SESSIONS, body)
    await refused(rig, answer, 400, "invalid_request")
    assert answer.error["param"] == param
    assert await rig.dispatch.reader.sessions(None, 10) == []
