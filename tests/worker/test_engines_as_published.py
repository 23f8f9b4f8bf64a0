"""Claims about the makes of engine that people have, against answers as something published gives them."""

import msgspec
import pytest

from inferpool.client.transport import TransportError
from inferpool.core.errors import Code
from inferpool.worker.engine import Engine, EngineView
from inferpool.worker.probe import Probe
from inferpool.worker.relay import Errand, Relay
from tests.worker.engine_peer import Script
from tests.worker.memory import MemoryTransport
from tests.worker.parts import FixedClock
from tests.worker.published import llama_cpp, ollama, sglang, vllm
from tests.worker.published.engine import Published, PublishedPeer, Told
from tests.worker.published.llama_cpp import LLAMA_CPP
from tests.worker.published.lm_studio import LM_STUDIO
from tests.worker.published.ollama import OLLAMA
from tests.worker.published.sglang import SGLANG
from tests.worker.published.vllm import VLLM
from tests.worker.test_relay import Basket

pytestmark = pytest.mark.anyio

MAKES = (OLLAMA, LLAMA_CPP, VLLM, SGLANG, LM_STUDIO)
each = pytest.mark.parametrize("published", MAKES, ids=[one.make for one in MAKES])
AUDIO_ENDPOINTS = ["audio/speech", "audio/transcriptions", "audio/translations"]
URL = "http://127.0.0.1:1/v1"


async def look(peer: PublishedPeer, models: Told | None = None) -> EngineView:
    """What the worker sees; `models` is another answer to `GET /v1/models`."""
    if models is not None:
        peer.changed["GET /v1/models"] = models
    return await Engine(peer.transport, URL, None).look(5.0)


async def chat(peer: PublishedPeer, told: Told, *, streaming: bool = True) -> Basket:
    """What the relay makes of this answer to a chat."""
    peer.chat = told
    basket = Basket()
    errand = Errand(
        engine=Engine(peer.transport, URL, None),
        model=peer.published.models[0],
        endpoint="chat/completions",
        body=msgspec.json.encode({"model": "pool", "stream": streaming, "messages": []}),
        content_type="application/json",
        headers={},
        streaming=streaming,
    )
    await Relay(300.0, FixedClock()).run(errand, basket)
    return basket


def streamed(body: bytes) -> Told:
    return Told(200, body, "text/event-stream")


def words(basket: Basket) -> str:
    """The content of the one answer."""
    body = msgspec.json.decode(basket.answers[0].body)
    return str(body["choices"][0]["message"]["content"])


@each
async def test_the_make_is_recognised_with_its_models_with_what_they_serve(published: Published) -> None:
    view = await look(PublishedPeer(published))
    assert (view.make.value, view.models, view.slots) == (published.make, published.models, published.slots)
    more = ["embeddings", "rerank"] if published is LLAMA_CPP else []  # started for neither
    assert (view.endpoints, view.lacks) == (published.alone, AUDIO_ENDPOINTS + more)


@each
async def test_what_was_learned_is_not_asked_again_until_the_engine_was_away(published: Published) -> None:
    peer = PublishedPeer(published)
    engine = Engine(peer.transport, URL, None)
    await engine.look(5.0)
    first, peer.asked = peer.asked, []
    seen = await engine.look(5.0)
    assert len(peer.asked) == (2 if published.slots else 1)
    assert seen.endpoints == published.alone
    peer.up = False
    with pytest.raises(TransportError):
        await engine.look(5.0)
    peer.up, peer.asked = True, []
    await engine.look(5.0)
    assert peer.asked == first


@each
async def test_a_stream_arrives_whole_without_the_usage_that_nobody_asked_for(published: Published) -> None:
    basket = await chat(PublishedPeer(published), streamed(published.stream))
    assert (basket.failures, words(basket)) == ([], published.said)
    assert basket.answers[0].usage is not None
    assert not any('"choices":[]' in chunk for chunk in basket.chunks)


@each
async def test_a_stream_that_ends_in_its_finish_reason_alone_is_an_answer(published: Published) -> None:
    unmarked = published.stream.replace(b"data: [DONE]\n\n", b"")
    basket = await chat(PublishedPeer(published), streamed(unmarked))
    assert (basket.failures, words(basket)) == ([], published.said)


@each
async def test_a_stream_that_goes_wrong_is_a_failure_that_says_why(published: Published) -> None:
    basket = await chat(PublishedPeer(published), streamed(published.broken))
    assert basket.answers == []
    [(code, message)] = basket.failures
    assert code is Code.ENGINE_ERROR
    assert published.why in message


@each
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refusal_passes_with_its_status_byte_for_byte(published: Published, streaming: bool) -> None:
    basket = await chat(PublishedPeer(published), published.refusal, streaming=streaming)
    assert [(one.status, one.body) for one in basket.answers] == [(published.refusal.status, published.refusal.body)]


async def test_an_ollama_without_models_lists_none() -> None:
    assert (await look(PublishedPeer(OLLAMA), models=ollama.EMPTY_LIST)).models == []


async def test_an_ollama_that_tells_no_capabilities_is_asked_for_anything() -> None:
    peer = PublishedPeer(OLLAMA)
    peer.changed = {"POST /api/show nomic-embed-text:latest": ollama.OLDER_SHOW}
    assert (await look(peer)).endpoints == {}


async def test_a_llama_cpp_that_loads_its_model_is_waited_for() -> None:
    with pytest.raises(TransportError, match="503"):
        await look(PublishedPeer(LLAMA_CPP), models=llama_cpp.LOADING)


@pytest.mark.parametrize(
    ("chats", "embeds", "reranks", "alone"),
    [
        (llama_cpp.NO_COMPLETIONS, llama_cpp.LACKING, None, ["embeddings"]),
        (llama_cpp.LACKING, llama_cpp.LACKING, None, ["embeddings"]),
        (llama_cpp.NO_COMPLETIONS, llama_cpp.NO_POOLING, None, ["embeddings"]),
        (llama_cpp.LACKING, llama_cpp.LACKING, llama_cpp.LACKING, ["rerank"]),
        (llama_cpp.LACKING, llama_cpp.NO_POOLING, None, None),
    ],
    ids=["older embeddings", "embeddings", "older without pooling", "reranking", "a model for chat"],
)
async def test_a_llama_cpp_serves_what_it_was_started_for(
    chats: Told, embeds: Told, reranks: Told | None, alone: list[str] | None
) -> None:
    peer = PublishedPeer(LLAMA_CPP)
    peer.changed = {"POST /v1/chat/completions": chats, "POST /v1/embeddings": embeds}
    if reranks is not None:
        peer.changed["POST /v1/rerank"] = reranks
    view = await look(peer)
    assert view.endpoints == ({} if alone is None else {"smollm2-135m": alone})


async def test_a_llama_cpp_router_is_not_asked_what_would_load_a_model() -> None:
    peer = PublishedPeer(LLAMA_CPP)
    view = await look(peer, models=llama_cpp.ROUTER_LIST)
    assert (view.make.value, view.models) == ("llama.cpp", ["ggml-org/gemma-3-4b-it-GGUF:Q4_K_M"])
    assert "POST /v1/chat/completions" not in peer.asked


async def test_an_error_in_a_field_of_an_older_llama_cpp_is_no_answer() -> None:
    basket = await chat(PublishedPeer(LLAMA_CPP), streamed(llama_cpp.OLD_ERROR))
    assert (basket.answers, len(basket.failures)) == ([], 1)


@pytest.mark.parametrize(
    ("page", "alone"),
    [
        (vllm.POOLING, ["embeddings"]),
        (vllm.SCORING, ["embeddings", "rerank"]),
        (vllm.SPEECH, ["audio/transcriptions", "audio/translations"]),
        (vllm.openapi(), None),
        (Told(404, b"{}"), None),
    ],
    ids=["pooling", "scoring", "speech", "nothing known", "no page"],
)
async def test_a_vllm_serves_what_its_routes_say(page: Told, alone: list[str] | None) -> None:
    peer = PublishedPeer(VLLM)
    peer.changed = {"GET /openapi.json": page}
    view = await look(peer)
    assert view.endpoints == ({} if alone is None else dict.fromkeys(VLLM.models, alone))


async def test_a_vllm_that_wants_a_key_says_how_to_give_it() -> None:
    with pytest.raises(TransportError, match="INFERPOOL_ENGINE_API_KEY"):
        await look(PublishedPeer(VLLM), models=vllm.KEY_WANTED)


async def test_the_flat_error_of_an_older_vllm_passes_as_it_is() -> None:
    basket = await chat(PublishedPeer(VLLM), Told(404, vllm.OLDER_ERROR), streaming=False)
    assert basket.answers[0].body == vllm.OLDER_ERROR


@pytest.mark.parametrize("route", ["GET /get_model_info", "GET /model_info"])
async def test_a_sglang_that_generates_nothing_embeds_or_ranks(route: str) -> None:
    peer = PublishedPeer(SGLANG)
    peer.changed = {"GET /get_model_info": Told(404, b"{}"), route: sglang.info(generates=False)}
    view = await look(peer)
    assert view.endpoints == {SGLANG.models[0]: ["embeddings", "rerank"]}


async def test_what_tells_its_slots_as_llama_cpp_does_is_asked_for_anything_else() -> None:
    peer = PublishedPeer(LLAMA_CPP)
    peer.changed = {"POST /v1/embeddings": llama_cpp.LACKING}
    view = await look(peer, models=Told(200, b'{"data":[{"id":"tiny","owned_by":"me"}]}'))
    assert (view.make.value, view.slots, view.endpoints) == ("an OpenAI-compatible engine", 2, {})


async def test_an_engine_that_misses_something_in_an_empty_call_has_the_endpoint() -> None:
    peer = PublishedPeer(VLLM)
    peer.changed = {"POST /v1/audio/transcriptions": Told(400, b"{}")}
    assert (await look(peer)).lacks == ["audio/speech", "audio/translations"]


async def test_an_engine_that_hangs_up_on_what_it_does_not_know_is_not_away() -> None:
    peer = PublishedPeer(VLLM)
    peer.hangs_up_on = "/v1/audio/"
    view = await look(peer)
    assert (view.models, view.lacks) == (VLLM.models, [])


async def test_a_question_that_is_never_answered_to_its_end_is_given_up() -> None:
    script = Script()
    with pytest.raises(TransportError, match="in time"):
        await Probe(MemoryTransport(script), "http://engine", {}, 0.01).get("/v1/models")


async def test_what_cannot_be_learned_now_is_asked_again() -> None:
    peer = PublishedPeer(LLAMA_CPP)
    peer.hangs_up_on = "/v1/rerank"
    peer.changed = {"POST /v1/embeddings": llama_cpp.LACKING}
    engine = Engine(peer.transport, URL, None)
    assert (await engine.look(5.0)).endpoints == {}
    peer.hangs_up_on = ""
    assert (await engine.look(5.0)).endpoints == {"smollm2-135m": ["embeddings"]}
