"""Claims about the scripted engine that all other tests lean on."""

import asyncio
import base64
import json
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from anthropic import AsyncAnthropic, BadRequestError
from anthropic.types import Message, MessageParam
from openai import AsyncOpenAI, RateLimitError
from starlette.types import Message as AsgiMessage

from inferpool.core.assembly import assembler_for
from inferpool.wire.sse import SseParser
from tests.engines.directives import Directive, answer_to, pieces_of, read_directive
from tests.engines.engine import ScriptedEngine
from tests.engines.scripted import make_app
from tests.house.project import ROOT

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def process_url() -> Iterator[str]:
    """The address of an engine that is a process of its own."""
    command = [sys.executable, "-m", "tests.engines.scripted", "--model", "tiny", "--model", "small", "--slots", "7"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline().strip()
            assert ready.startswith("engine ready at http://127.0.0.1:")
            yield ready.removeprefix("engine ready at ").removesuffix("/v1")
        finally:
            process.terminate()


@pytest.fixture
async def url(process_url: str) -> str:
    """The engine without memory of earlier tests."""
    async with aiohttp.ClientSession() as session, session.delete(f"{process_url}/_calls") as answer:
        assert answer.status == 200
    return process_url


def chat(prompt: str, **fields: object) -> dict[str, object]:
    return {"model": "tiny", "messages": [{"role": "user", "content": prompt}], **fields}


@asynccontextmanager
async def asking(url: str, prompt: str, **fields: object) -> AsyncIterator[aiohttp.ClientResponse]:
    """A chat call under way, on a connection of its own."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json=chat(prompt, **fields)) as answer,
    ):
        yield answer


async def payloads(answer: aiohttp.ClientResponse) -> list[str]:
    """What a stream says until it ends."""
    parser = SseParser()
    return [event.data async for piece in answer.content.iter_any() for event in parser.feed(piece)]


async def get(url: str, path: str) -> list[dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}{path}") as answer:
        told: list[dict[str, object]] = await answer.json()
        return told


async def post(url: str, path: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{url}{path}") as answer:
        assert answer.status == 204


# ---- answers ----------------------------------------------------------------------------------------------------------


async def test_the_official_client_gets_models_answers_vectors(url: str) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == ["tiny", "small"]
        told = await client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "say 3 words"}])
        assert told.choices[0].message.content == answer_to("say 3 words")
        assert told.usage is not None
        assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (3, 3)
        plain = await client.completions.create(model="tiny", prompt="echo  a b ")
        assert plain.choices[0].text == " a b "
        vectors = await client.embeddings.create(model="tiny", input=["a", "b"])
        assert [len(vector.embedding) for vector in vectors.data] == [8, 8]
        with pytest.raises(RateLimitError) as refused:
            await client.completions.create(model="tiny", prompt="status 429 retry-after 3")
        assert refused.value.response.headers["retry-after"] == "3"


async def test_the_official_client_of_messages_gets_answers_events_counts(url: str) -> None:
    async with AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
        whole = await client.messages.create(model="tiny", max_tokens=9, messages=[says("say 3 words")])
        async with client.messages.stream(model="tiny", max_tokens=9, messages=[says("say 3 words")]) as stream:
            streamed = await stream.get_final_message()
        assert text_of(whole) == text_of(streamed) == answer_to("say 3 words")
        assert (whole.usage, whole.stop_reason) == (streamed.usage, streamed.stop_reason)
        counted = await client.messages.count_tokens(model="tiny", messages=[says("one two three")])
        assert counted.input_tokens == 3
        with pytest.raises(BadRequestError) as refused:
            await client.messages.create(model="tiny", max_tokens=9, messages=[says("status 400")])
        assert refused.value.body == {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "as the script says"},
        }


def says(text: str) -> MessageParam:
    return {"role": "user", "content": text}


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@pytest.mark.parametrize("route", ["chat/completions", "completions"])
async def test_a_stream_says_what_the_whole_answer_says(url: str, route: str) -> None:
    body = chat("say 40 words") | {"prompt": "say 40 words"}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/v1/{route}", json=body) as answer:
            whole = await answer.json()
        async with session.post(f"{url}/v1/{route}", json=body | {"stream": True}) as answer:
            said = await payloads(answer)
    assembler = assembler_for(route)
    assert said.pop() == "[DONE]"
    for payload in said:
        assembler.add(payload)
    streamed = json.loads(assembler.body())
    assert streamed["choices"] == whole["choices"]
    assert assembler.ended


async def test_the_usage_comes_as_an_extra_chunk_when_asked_for(url: str) -> None:
    async with asking(url, "say 2 words", stream=True, stream_options={"include_usage": True}) as answer:
        said = [json.loads(payload) for payload in (await payloads(answer))[:-1]]
    assert [chunk["usage"] for chunk in said[:-1]] == [None] * 4
    assert (said[-1]["choices"], said[-1]["usage"]["total_tokens"]) == ([], 5)


async def test_vectors_come_as_base64_or_as_numbers(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        asked = {"model": "tiny", "input": "a"}
        async with session.post(f"{url}/v1/embeddings", json=asked) as answer:
            numbers = (await answer.json())["data"][0]["embedding"]
        async with session.post(f"{url}/v1/embeddings", json={**asked, "encoding_format": "base64"}) as answer:
            packed = (await answer.json())["data"][0]["embedding"]
    assert list(struct.unpack("<8f", base64.b64decode(packed))) == numbers


async def test_slots_are_told_as_llama_cpp_does(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/props") as answer:
        assert await answer.json() == {"total_slots": 7}


async def test_a_body_that_is_no_request_is_a_400(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/completions", data=b"{") as answer:
        assert answer.status == 400
    assert await get(url, "/_calls") == []


# ---- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_break_is_seen_as_a_broken_connection(url: str, *, stream: bool) -> None:
    async with asking(url, "say 9 words break after 5", stream=stream) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    call = (await get(url, "/_wait?state=finished"))[0]
    assert (call["chunks_sent"], call["cancelled"]) == (6 if stream else 0, False)


async def test_a_stream_may_end_without_its_end_mark(url: str) -> None:
    async with asking(url, "say 9 words no-done after 2", stream=True) as answer:
        said = [json.loads(payload) for payload in await payloads(answer)]
    assert [chunk["choices"][0]["finish_reason"] for chunk in said] == [None] * 3


async def test_a_stream_may_fail_in_words(url: str) -> None:
    async with asking(url, "fail after 2", stream=True) as answer:
        assert list(json.loads((await payloads(answer))[-1])) == ["error"]


async def test_a_reset_comes_before_any_answer(url: str) -> None:
    with pytest.raises(aiohttp.ClientConnectionError):
        async with asking(url, "reset") as answer:
            raise AssertionError(answer.status)
    assert [call["cancelled"] for call in await get(url, "/_wait?state=finished")] == [False]


async def test_a_fault_may_hit_the_first_calls_only(url: str) -> None:
    statuses = []
    for _ in range(3):
        async with asking(url, "status 503 times 2") as answer:
            statuses.append(answer.status)
    assert statuses == [503, 503, 200]


async def test_the_engine_sees_its_client_leave(url: str) -> None:
    async with asking(url, "say 9 words hang after 3", stream=True) as answer:
        await answer.content.readany()
        assert [call["cancelled"] for call in await get(url, "/_wait?state=waiting")] == [False]
        answer.close()
    call = (await get(url, "/_wait?state=cancelled"))[0]
    assert (call["chunks_sent"], call["directive"], call["path"]) == (
        4,
        "say 9 words hang after 3",
        "/v1/chat/completions",
    )


async def test_a_hanging_call_goes_on_when_it_is_released(url: str) -> None:
    async with asking(url, "hang after 3", stream=True) as answer:
        await get(url, "/_wait?state=waiting")
        await post(url, "/_release")
        assert (await payloads(answer))[-1] == "[DONE]"


@pytest.mark.parametrize("prompt", ["gate north", "gate north after 2", "gate north status 500"])
async def test_a_gate_holds_a_call_until_it_is_opened(url: str, prompt: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(status_of(url, prompt))
        await get(url, "/_wait?state=waiting")
        assert not answer.done()
        await post(url, "/_gate/north")
    assert answer.result() == (500 if "500" in prompt else 200)
    assert await status_of(url, prompt) == answer.result()


async def status_of(url: str, prompt: str) -> int:
    async with asking(url, prompt) as answer:
        return answer.status


async def test_every_call_is_counted_with_the_hash_of_its_body(url: str) -> None:
    for _ in range(2):
        async with asking(url, "say 1 word"):
            pass
    calls = await get(url, "/_wait?state=finished&count=2")
    assert [(call["id"], call["status"]) for call in calls] == [(1, 200), (2, 200)]
    assert len({str(call["body_sha256"]) for call in calls}) == 1


# ---- without a process ------------------------------------------------------------------------------------------------


class Peer:
    """A client of a streamed chat call without any network; it leaves at the event."""

    def __init__(self, prompt: str, leaves: asyncio.Event) -> None:
        self._asked: list[AsgiMessage] = [
            {"type": "http.request", "body": json.dumps(chat(prompt, stream=True)).encode(), "more_body": False}
        ]
        self._leaves = leaves
        self.got: list[AsgiMessage] = []

    async def receive(self) -> AsgiMessage:
        if self._asked:
            return self._asked.pop()
        await self._leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: AsgiMessage) -> None:
        self.got.append(message)


async def run_in_memory(engine: ScriptedEngine, prompt: str, leaves: asyncio.Event) -> list[AsgiMessage]:
    """What the client of one call got."""
    peer = Peer(prompt, leaves)
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [], "query_string": b""}
    await make_app(engine)(scope, peer.receive, peer.send)
    return peer.got


async def test_the_engine_runs_without_a_network() -> None:
    sent = await run_in_memory(ScriptedEngine(["tiny"]), "say 30 words every 1 ms", asyncio.Event())
    assert [len(sent), sent[0]["status"], sent[-1]["more_body"]] == [1 + 33 + 1, 200, False]


@pytest.mark.parametrize("prompt", ["break after 2", "reset"])
async def test_an_answer_left_unfinished_is_a_broken_connection(prompt: str) -> None:
    sent = await run_in_memory(ScriptedEngine(["tiny"]), prompt, asyncio.Event())
    assert all(message.get("more_body", True) for message in sent)


@pytest.mark.parametrize("prompt", ["hang after 0", "say 3 words every 100000 ms", "gate never"])
async def test_a_client_without_a_network_can_leave(prompt: str) -> None:
    engine, leaves = ScriptedEngine(["tiny"]), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_in_memory(engine, prompt, leaves))
        await engine.wait_for("started")
        leaves.set()
        assert [call.cancelled for call in await engine.wait_for("cancelled")] == [True]


def test_a_directive_is_read_among_other_words() -> None:
    assert read_directive("please say 50 words every 20 ms, as north") == Directive(words=50, every_ms=20, name="north")
    assert read_directive("gate a-b after 3 hang after 4 echo status 500") == Directive(
        gate="a-b", gate_after=3, hang_after=4, echo="status 500"
    )
    assert read_directive("hello") == Directive()


def test_an_answer_is_determined_by_its_prompt() -> None:
    assert answer_to("say 3 words as north") == "north-0 north-1 north-2"
    assert pieces_of("echo a  b\n") == ["a", "  b", "\n"]
    assert answer_to("say 2 words!") != answer_to("say 2 words?")
