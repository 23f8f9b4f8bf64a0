"""Claims about the real llama.cpp: what the fixtures say of it holds, the relay passes its answers on."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from inferpool.client.http import AiohttpTransport
from inferpool.worker.engine import Engine
from inferpool.worker.probe import Probe
from inferpool.worker.relay import Errand, Relay
from tests.house.project import ROOT
from tests.worker.parts import FixedClock
from tests.worker.published.llama_cpp import LACKING, LLAMA_CPP
from tests.worker.test_relay import Basket

pytestmark = [pytest.mark.anyio, pytest.mark.engine]

MODEL = "smollm2-135m"
PYTHON = Path(os.environ.get("INFERPOOL_TEST_ENGINE_PYTHON") or ROOT / ".engine" / "bin" / "python")


@contextmanager
def llama_cpp(*flags: str) -> Iterator[str]:
    """A real one on a free port, with its address; ended afterwards."""
    assert PYTHON.is_file(), f"no real engine: `make .engine/installed` builds {PYTHON}"
    command = [str(PYTHON), str(ROOT / "examples" / "engine.py"), "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield next(line for line in process.stdout if line.startswith("engine ready at")).split()[-1]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def chatting() -> Iterator[str]:
    """One that chats, with three slots."""
    with llama_cpp("--slots", "3") as url:
        yield url


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    """Real HTTP."""
    made = AiohttpTransport()
    yield made
    await made.close()


async def test_it_is_recognised_with_its_slots(chatting: str, transport: AiohttpTransport) -> None:
    view = await Engine(transport, chatting, None).look(10.0)
    assert (view.make.value, view.models, view.slots, view.endpoints) == ("llama.cpp", [MODEL], 3, {})


@pytest.mark.parametrize("route", ["/v1/embeddings", "/v1/rerank"])
async def test_it_refuses_what_it_was_not_started_for_as_the_fixture_says(
    chatting: str, transport: AiohttpTransport, route: str
) -> None:
    answer = await Probe(transport, chatting.removesuffix("/v1"), {}, 10.0).post(route, b"{}")
    told = LLAMA_CPP.routes[f"POST {route}"]
    assert (answer.status, answer.body) == (told.status, told.body)


async def test_an_empty_chat_is_refused_at_once(chatting: str, transport: AiohttpTransport) -> None:
    answer = await Probe(transport, chatting.removesuffix("/v1"), {}, 10.0).post("/v1/chat/completions", b"{}")
    assert answer.status == LACKING.status


@pytest.mark.parametrize("streaming", [False, True])
async def test_its_answer_passes_whole_with_its_usage(
    chatting: str, transport: AiohttpTransport, streaming: bool
) -> None:
    basket = Basket()
    question = {"messages": [{"role": "user", "content": "Name a fruit."}], "max_tokens": 8, "temperature": 0}
    errand = Errand(
        engine=Engine(transport, chatting, None),
        model=MODEL,
        endpoint="chat/completions",
        body=msgspec.json.encode({"model": "pool", "stream": streaming, **question}),
        content_type="application/json",
        headers={},
        streaming=streaming,
    )
    await Relay(300.0, FixedClock()).run(errand, basket)
    assert basket.failures == []
    [answer] = basket.answers
    assert msgspec.json.decode(answer.body)["choices"][0]["message"]["content"]
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


async def test_one_for_embeddings_is_published_for_them_alone(transport: AiohttpTransport) -> None:
    with llama_cpp("--embeddings") as url:
        view = await Engine(transport, url, None).look(10.0)
        assert view.endpoints == {MODEL: ["embeddings"]}
        answer = await Probe(transport, url.removesuffix("/v1"), {}, 30.0).post("/v1/embeddings", b'{"input":"grey"}')
    assert len(msgspec.json.decode(answer.body)["data"][0]["embedding"]) > 100
