"""Claims about `inferpool doctor` on a running set-up: each symptom has its remedy, in one line."""

import json

import msgspec
import pytest

from inferpool.cli.checkup import Checkup, Finding, State
from inferpool.client.transport import HttpRequest, TransportError
from inferpool.core.llm import LlmStatus
from inferpool.settings import load
from tests.cli.played import Site
from tests.cli.typed import Typed
from tests.worker.memory import MemoryReply, MemoryTransport, whole
from tests.worker.published.engine import PublishedPeer, Told
from tests.worker.published.llama_cpp import LLAMA_CPP
from tests.worker.published.vllm import KEY_WANTED, VLLM

NOWHERE = "http://127.0.0.1:9"
READY = b'{"status":"ready"}'
STAMP = "2026-08-01T12:00:00.000Z"


def llm(status: LlmStatus) -> dict[str, object]:
    """An llm as the server shows it."""
    names = {"name": "tiny@box", "pool": "tiny", "pool_name": "tiny", "model": "tiny", "type": "chat", "engine": "e"}
    rest: dict[str, object] = {
        "tier": None,
        "slots": 4,
        "endpoints": None,
        "extra": {},
        "session_id": "s",
        "kind": "virtual",
    }
    return {**names, **rest, "status": status.value, "created_at": STAMP, "updated_at": STAMP}


def session(*, active: bool) -> dict[str, object]:
    """A session as the server shows it."""
    times = {"created_at": STAMP, "registered_at": STAMP, "seen_at": STAMP, "inactive_at": None}
    worker = {"name": "box", "version": "1"}
    return {
        "id": "s",
        "epoch": 1,
        "active": active,
        "leaving": False,
        "worker": worker,
        "subject": "local",
        "server_id": "x",
        **times,
    }


class Played:
    """A server that lists this."""

    def __init__(self, sessions: list[dict[str, object]], llms: list[dict[str, object]]) -> None:
        self.sessions = (200, sessions)
        self.llms = (200, llms)
        self.ready = whole(200, READY)
        self.transport = MemoryTransport(self._answer)

    async def _answer(self, request: HttpRequest) -> MemoryReply:
        if request.url.endswith("/readyz"):
            return self.ready
        status, listed = self.sessions if "/sessions" in request.url else self.llms
        if status != 200:
            return whole(status, b'{"error":{"message":"no","code":null}}')
        return whole(200, msgspec.json.encode({"data": listed, "next_cursor": None}))


async def found(server: Played, beside: PublishedPeer | None = None, **flags: object) -> list[Finding]:
    """What the checkup finds beside this engine."""
    transport = MemoryTransport(refuse) if beside is None else beside.transport
    return await Checkup(load(flags, {}), server.transport, transport).run()


async def refuse(request: HttpRequest) -> MemoryReply:
    raise TransportError("connection refused")


def states(findings: list[Finding]) -> dict[str, State]:
    return {one.check: one.state for one in findings}


@pytest.mark.anyio
async def test_a_set_up_that_works_is_well() -> None:
    server = Played([session(active=True)], [llm(LlmStatus.ACTIVE)])
    told = await found(server, PublishedPeer(LLAMA_CPP))
    assert set(states(told).values()) == {State.OK}
    assert [one.check for one in told][:1] == ["server"]
    assert not any(one.remedy for one in told)


@pytest.mark.anyio
async def test_no_engine_here_is_well_while_workers_elsewhere_serve() -> None:
    server = Played([session(active=True)], [llm(LlmStatus.ACTIVE)])
    assert states(await found(server))["engine"] is State.OK
    idle = Played([session(active=True)], [llm(LlmStatus.INACTIVE)])
    assert states(await found(idle))["engine"] is State.FAIL


@pytest.mark.anyio
async def test_without_a_worker_the_remedy_is_to_start_one() -> None:
    told = {one.check: one for one in await found(Played([session(active=False)], []))}
    assert "gone: box" in told["worker"].says
    assert "inferpool worker" in told["worker"].remedy
    assert told["model"].remedy == "start a worker beside an engine"


@pytest.mark.anyio
async def test_a_worker_whose_engine_is_away_is_named_as_the_reason() -> None:
    told = {one.check: one for one in await found(Played([session(active=True)], [llm(LlmStatus.INACTIVE)]))}
    assert "inactive: tiny@box" in told["model"].says
    assert "the worker's engine is away" in told["model"].remedy


@pytest.mark.anyio
async def test_what_a_token_may_not_see_is_told_with_what_to_give() -> None:
    server = Played([], [])
    server.sessions = server.llms = (401, [])
    told = {one.check: one for one in await found(server)}
    assert "INFERPOOL_TOKEN" in told["worker"].remedy
    server.sessions, server.llms = (403, []), (500, [])
    server.ready = whole(200, READY)
    told = {one.check: one for one in await found(server)}
    assert "a token that may look" in told["worker"].remedy
    assert told["worker"].state is State.WARN, "a caller's set-up may be well"
    assert "log" in told["model"].remedy


@pytest.mark.anyio
async def test_another_program_at_the_address_is_no_server() -> None:
    server = Played([], [])
    server.ready = whole(404, b"nothing here")
    [first, _] = await found(server)
    assert "no inferpool server" in first.says
    server.ready = whole(503, b"")
    assert "not ready" in (await found(server))[0].says


@pytest.mark.anyio
async def test_a_named_engine_is_told_as_it_is() -> None:
    server, peer = Played([session(active=True)], [llm(LlmStatus.ACTIVE)]), PublishedPeer(VLLM)
    told = await found(server, peer, engine=["http://gpu:8000/v1"])
    assert [one.says for one in told if one.check == "engine"] == [
        "vLLM at http://gpu:8000/v1 serves Qwen/Qwen3-8B, sql-lora"
    ]
    peer.changed["GET /v1/models"] = Told(200, b'{"data":[]}')
    assert states(await found(server, peer, engine=["http://gpu:8000"]))["engine"] is State.WARN
    peer.changed["GET /v1/models"] = KEY_WANTED
    [engine] = [one for one in await found(server, peer, engine=["http://gpu:8000"]) if one.check == "engine"]
    assert (engine.state, "INFERPOOL_ENGINE_API_KEY" in engine.says) == (State.FAIL, True)


@pytest.mark.anyio
async def test_what_wants_a_key_at_a_usual_address_is_told() -> None:
    peer = PublishedPeer(VLLM)
    peer.changed["GET /v1/models"] = KEY_WANTED
    told = await found(Played([], []), peer, local_engines=["http://127.0.0.1:8000"])
    [engine] = [one for one in told if one.check == "engine"]
    assert (engine.state, engine.says) == (State.FAIL, "http://127.0.0.1:8000 wants a key")


def test_a_server_that_is_not_there_is_one_line_with_its_remedy(typed: Typed) -> None:
    told = typed("doctor", "--server", NOWHERE, "--engine", NOWHERE)
    assert told.code == 1
    assert told.output.startswith(f"FAIL  server   nobody answers at {NOWHERE}; start one: inferpool serve")
    assert told.output.count("\n") == 2


def test_a_set_up_is_told_in_every_form(site: Site, typed: Typed) -> None:
    flags = ("doctor", "--server", site.url, "--engine", NOWHERE)
    told = typed(*flags)
    assert [line[:2] for line in told.lines] == [
        ["ok", "server"],
        ["FAIL", "engine"],
        ["ok", "worker"],
        ["ok", "model"],
    ]
    assert typed(*flags, "-o", "wide").output == told.output
    assert typed(*flags, "-o", "name").output == "engine\n"
    data = json.loads(typed(*flags, "-o", "json").output)["data"]
    assert data[0] == {"check": "server", "state": "ok", "says": f"inferpool answers at {site.url}", "remedy": ""}


def test_a_set_up_and_its_store_are_checked_together(site: Site, typed: Typed) -> None:
    flags = ("doctor", "--server", site.url, "--engine", NOWHERE, "--database-url", str(site.database))
    told = typed(*flags)
    assert told.code == 1
    assert told.output.endswith("no breach of the law\n")
    data = json.loads(typed(*flags, "-o", "json").output)["data"]
    assert {"server", "size"} <= {one["check"] for one in data}
