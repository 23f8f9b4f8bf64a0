"""Claims about engines that nobody named: where they are looked for, what is said, what is kept from strangers."""

import msgspec
import pytest

from inferpool.client.transport import HttpRequest, TransportError
from inferpool.wire.openai import Model, ModelList
from inferpool.worker.discovery import EngineSource, Found, find_engines
from tests.worker.memory import MemoryReply, MemoryTransport
from tests.worker.published.engine import PublishedPeer, Told
from tests.worker.published.llama_cpp import LLAMA_CPP
from tests.worker.published.ollama import OLLAMA
from tests.worker.published.vllm import KEY_WANTED, VLLM
from tests.worker.workers import House

pytestmark = pytest.mark.anyio

OLLAMA_URL, LLAMA_URL, VLLM_URL = "http://127.0.0.1:11434", "http://127.0.0.1:8080", "http://127.0.0.1:8000"


class Machine:
    """What listens on one machine, by address."""

    def __init__(self, **peers: PublishedPeer) -> None:
        self.peers = {f"http://127.0.0.1:{port.removeprefix('at')}": peer for port, peer in peers.items()}
        self.transport = MemoryTransport(self._handle)

    async def _handle(self, request: HttpRequest) -> MemoryReply:
        for url, peer in self.peers.items():
            if request.url.startswith(url + "/"):
                async with peer.transport.open(request) as reply:
                    assert isinstance(reply, MemoryReply)
                    return reply
        raise TransportError("connection refused")


async def found(machine: Machine, key: str | None = None) -> dict[str, str]:
    """The makes that are found, by address."""
    source = EngineSource(machine.transport, key)
    engines = await find_engines(source, [OLLAMA_URL, LLAMA_URL, VLLM_URL], 5.0)
    return {
        one.engine.root if isinstance(one, Found) else one.url: one.view.make.value
        if isinstance(one, Found)
        else "locked"
        for one in engines
    }


async def test_each_engine_at_a_usual_address_is_found_with_its_make() -> None:
    machine = Machine(at11434=PublishedPeer(OLLAMA), at8000=PublishedPeer(VLLM))
    assert await found(machine) == {OLLAMA_URL: "Ollama", VLLM_URL: "vLLM"}


async def test_something_else_that_listens_there_is_no_engine() -> None:
    stranger = PublishedPeer(OLLAMA)
    stranger.changed["GET /v1/models"] = Told(200, b"<html>Jenkins</html>", "text/html")
    assert await found(Machine(at8080=stranger)) == {}


async def test_a_server_of_ours_is_no_engine() -> None:
    server = PublishedPeer(OLLAMA)
    listed = ModelList(data=[Model(id="tiny", created=1)])
    server.changed["GET /v1/models"] = Told(200, msgspec.json.encode(listed))
    assert await found(Machine(at8000=server)) == {}


async def test_what_wants_another_key_is_told_apart_from_nothing() -> None:
    closed = PublishedPeer(VLLM)
    closed.changed["GET /v1/models"] = KEY_WANTED
    assert await found(Machine(at8000=closed)) == {VLLM_URL: "locked"}
    house = House()
    house.set(engine_urls=[], local_engines=[VLLM_URL])
    house.engine.transport = Machine(at8000=closed).transport
    async with house.running():
        await house.until_linked()
    assert "what answers there wants a key: set INFERPOOL_ENGINE_API_KEY" in house.log.said


async def test_the_key_is_shown_only_to_what_asks_for_one() -> None:
    open_one, closed = PublishedPeer(OLLAMA), PublishedPeer(VLLM)
    closed.changed["GET /v1/models"] = KEY_WANTED
    machine = Machine(at11434=open_one, at8000=closed)
    await found(machine, "sk-key")
    assert not any("authorization" in headers for headers in open_one.headers)
    assert closed.headers[-1]["authorization"] == "Bearer sk-key"


async def test_a_worker_without_a_named_engine_publishes_what_it_finds() -> None:
    house = House()
    machine = Machine(at8080=PublishedPeer(LLAMA_CPP))
    house.set(engine_urls=[], local_engines=[OLLAMA_URL, LLAMA_URL])
    house.engine.transport = machine.transport
    async with house.running():
        await house.until_linked()
        [offer] = house.server.registrations[-1].llms
        assert (offer.name, offer.slots, offer.engine) == ("smollm2-135m@box", 2, LLAMA_URL)
        assert "found an engine, publishing its models" in house.log.said


async def test_an_engine_that_comes_later_is_taken_up_by_itself() -> None:
    house = House()
    machine = Machine()
    house.set(engine_urls=[], local_engines=[OLLAMA_URL, LLAMA_URL], probe_s=0.01)
    house.engine.transport = machine.transport
    async with house.running():
        await house.until_linked()
        assert house.server.registrations[-1].llms == []
        assert [line for line in house.log.said if "none answers at the usual addresses" in line]
        machine.peers[LLAMA_URL] = PublishedPeer(LLAMA_CPP)
        await house.server.signal.until(lambda: house.server.registrations[-1].llms)
