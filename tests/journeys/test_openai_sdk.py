"""The official `openai` SDK against real processes: server, worker, scripted engine.

It keeps its own retries (two), so that whatever it would run again needlessly stands as a row that the ledger does not know.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionUserMessageParam

from tests.engines.directives import answer_to
from tests.journeys.fleet import POOL
from tests.journeys.ledger import Ledger
from tests.journeys.processes import PATIENCE_S
from tests.journeys.site import Site, opened_site

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

STOP_S = 1.0
"""Within this time the engine must stop when its caller leaves."""
CALLERS = 20


@pytest.fixture(scope="module")
async def site(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One site for all calls; at the end its ledger agrees with the store."""
    async with opened_site(tmp_path_factory.mktemp("sdk")) as opened:
        await opened.start(slots=CALLERS)
        yield opened
        await opened.conclude()


def sync_client(site: Site) -> openai.OpenAI:
    """The blocking client; tests use it in a thread."""
    return openai.OpenAI(base_url=site.server_url + "/v1", api_key="unused", timeout=PATIENCE_S)


def async_client(site: Site) -> openai.AsyncOpenAI:
    """The asynchronous client."""
    return openai.AsyncOpenAI(base_url=site.server_url + "/v1", api_key="unused", timeout=PATIENCE_S)


def says(text: str) -> list[ChatCompletionUserMessageParam]:
    """One message."""
    return [{"role": "user", "content": text}]


def text_in(answer: ChatCompletion) -> str:
    """What the assistant said."""
    return answer.choices[0].message.content or ""


def text_of(chunks: Iterable[ChatCompletionChunk]) -> str:
    """What the assistant said in a stream."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def note_failure(ledger: Ledger, error: openai.APIStatusError, status: str = "error") -> str:
    """Take down the task of a call that was answered with an error; its id."""
    task_id = str(error.response.headers["inferpool-task-id"])
    ledger.accept(task_id, error.request.content)
    ledger.failing[task_id] = status
    return task_id


def call_sync(site: Site, text: str) -> ChatCompletion:
    """A blocked call of the blocking client."""
    with sync_client(site) as client:
        raw = client.chat.completions.with_raw_response.create(model=POOL, messages=says(text))
        site.ledger.accept(str(raw.headers["inferpool-task-id"]), raw.http_request.content)
        site.ledger.answers[str(raw.headers["inferpool-task-id"])] = raw.http_response.content
        return raw.parse()


async def call(site: Site, client: openai.AsyncOpenAI, text: str) -> ChatCompletion:
    """A blocked call of the asynchronous client."""
    raw = await client.chat.completions.with_raw_response.create(model=POOL, messages=says(text))
    site.ledger.accept(str(raw.headers["inferpool-task-id"]), raw.http_request.content)
    site.ledger.answers[str(raw.headers["inferpool-task-id"])] = raw.http_response.content
    return raw.parse()


async def open_stream(
    site: Site, client: openai.AsyncOpenAI, text: str
) -> tuple[str, openai.AsyncStream[ChatCompletionChunk]]:
    """A streamed call: the task's id with the stream."""
    stream = await client.chat.completions.create(model=POOL, messages=says(text), stream=True)
    task_id = str(stream.response.headers["inferpool-task-id"])
    site.ledger.accept(task_id, stream.response.request.content)
    return task_id, stream


async def stream_text(site: Site, client: openai.AsyncOpenAI, text: str) -> str:
    """What a whole stream says."""
    _, stream = await open_stream(site, client, text)
    return text_of([chunk async for chunk in stream])


def stream_sync(site: Site, text: str) -> list[ChatCompletionChunk]:
    """A whole stream of the blocking client, with its usage."""
    with sync_client(site) as client:
        stream = client.chat.completions.create(
            model=POOL, messages=says(text), stream=True, stream_options={"include_usage": True}
        )
        site.ledger.accept(str(stream.response.headers["inferpool-task-id"]), stream.response.request.content)
        return list(stream)


def close_early(site: Site, text: str) -> str:
    """A stream of the blocking client that is closed after three chunks; the task's id."""
    with sync_client(site) as client:
        stream = client.chat.completions.create(model=POOL, messages=says(text), stream=True)
        task_id = str(stream.response.headers["inferpool-task-id"])
        site.ledger.accept(task_id, stream.response.request.content)
        for _ in range(3):
            next(stream)
        stream.close()
        return task_id


async def calls_of(site: Site, text: str) -> int:
    """How often the engine was asked this."""
    return len([one for one in await site.engine_calls() if one["directive"] == text])


async def stopped_in_time(site: Site, count: int) -> None:
    """The engine has lost `count` calls, the last one a moment ago."""
    async with asyncio.timeout(STOP_S):
        await site.engine_waits("cancelled", count)


async def lost_calls(site: Site) -> int:
    """Calls that the engine lost so far."""
    return len([one for one in await site.engine_calls() if one["cancelled"]])


async def test_a_blocked_call_of_the_blocking_client_gets_the_engines_answer(site: Site) -> None:
    answer = await asyncio.to_thread(call_sync, site, "say 6 words")
    assert text_in(answer) == answer_to("say 6 words")
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage is not None, answer.usage and answer.usage.completion_tokens) == (True, 6)


async def test_a_stream_of_the_blocking_client_says_all_with_the_usage_that_was_asked_for(site: Site) -> None:
    chunks = await asyncio.to_thread(stream_sync, site, "say 7 words every 2 ms")
    assert text_of(chunks) == answer_to("say 7 words every 2 ms")
    last = chunks[-1]
    assert (last.choices, last.usage is not None and last.usage.completion_tokens) == ([], 7)


async def test_many_asynchronous_calls_at_once_each_get_their_own_answer(site: Site) -> None:
    whole = [f"say 5 words as whole-{number}" for number in range(CALLERS)]
    streamed = [f"say 5 words every 1 ms as streamed-{number}" for number in range(CALLERS)]
    async with async_client(site) as client:
        answers, texts = await asyncio.gather(
            asyncio.gather(*[call(site, client, text) for text in whole]),
            asyncio.gather(*[stream_text(site, client, text) for text in streamed]),
        )
    assert [text_in(answer) for answer in answers] == [answer_to(text) for text in whole]
    assert texts == [answer_to(text) for text in streamed]


async def test_a_stream_without_the_wish_for_usage_shows_none(site: Site) -> None:
    async with async_client(site) as client:
        _, stream = await open_stream(site, client, "say 2 words as modest")
        chunks = [chunk async for chunk in stream]
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
    assert all(chunk.choices for chunk in chunks)


async def test_the_models_are_the_pool_then_its_llm(site: Site) -> None:
    async with async_client(site) as client:
        assert [model.id async for model in client.models.list()] == [POOL, f"{POOL}@box"]
        assert (await client.models.retrieve(f"{POOL}@box")).id == f"{POOL}@box"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_400_of_the_engine_passes_through_with_its_body(site: Site, *, streamed: bool) -> None:
    text = f"status 400 as {'streamed' if streamed else 'whole'}"
    async with async_client(site) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model=POOL, messages=says(text), stream=streamed)
    assert caught.value.response.json()["error"] == {
        "message": "as the script says",
        "type": "scripted",
        "param": None,
        "code": 400,
    }
    note_failure(site.ledger, caught.value)
    assert await calls_of(site, text) == 1


async def test_a_model_that_nobody_published_is_404_with_the_nearest_names(site: Site) -> None:
    async with async_client(site) as client:
        with pytest.raises(openai.NotFoundError, match=POOL) as caught:
            await client.chat.completions.create(model="wrods", messages=says("say 1 words"))
    assert caught.value.code == "model_not_found"
    assert "inferpool-task-id" not in caught.value.response.headers


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_what_the_engine_refuses_for_now_is_tried_again_by_the_server(site: Site, status: int) -> None:
    text = f"status {status} retry-after 0 times 2 say 3 words as again-{status}"
    async with async_client(site) as client:
        answer = await call(site, client, text)
    assert text_in(answer) == answer_to(text)
    assert await calls_of(site, text) == 3


async def test_an_engine_that_fails_at_every_try_is_an_error_that_the_client_does_not_run_again(site: Site) -> None:
    text = "status 503 retry-after 0 as always"
    async with async_client(site) as client:
        with pytest.raises(openai.InternalServerError, match="as the script says") as caught:
            await client.chat.completions.create(model=POOL, messages=says(text))
    assert caught.value.status_code == 503
    task_id = note_failure(site.ledger, caught.value)
    assert [attempt["counted"] for attempt in await site.attempts(task_id)] == [True] * 3
    assert await calls_of(site, text) == 3


async def test_a_stream_that_broke_after_a_part_was_shown_ends_in_an_error_while_its_task_goes_on(site: Site) -> None:
    text = "say 6 words gate broken after 3 break after 3 times 1"
    async with async_client(site) as client:
        task_id, stream = await open_stream(site, client, text)
        seen = [await anext(stream) for _ in range(4)]
        await site.open_gate("broken")
        with pytest.raises(openai.APIError) as caught:
            await anext(stream)
    assert caught.value.code == "worker_lost"
    assert answer_to(text).startswith(text_of(seen))
    row = await site.ended(task_id)
    assert (row["status"], row["attempt"]) == ("completed", 2)


async def test_closing_a_stream_stops_the_engine_within_a_second(site: Site) -> None:
    lost = await lost_calls(site)
    async with async_client(site) as client:
        task_id, stream = await open_stream(site, client, "say 500 words every 20 ms as async")
        seen = [await anext(stream) for _ in range(3)]
        await stream.close()
        await stopped_in_time(site, lost + 1)
    assert len(seen) == 3
    site.ledger.failing[task_id] = "cancelled"
    assert (await site.ended(task_id))["status"] == "cancelled"


async def test_closing_a_stream_of_the_blocking_client_stops_the_engine_within_a_second(site: Site) -> None:
    lost = await lost_calls(site)
    task_id = await asyncio.to_thread(close_early, site, "say 500 words every 20 ms as sync")
    await stopped_in_time(site, lost + 1)
    site.ledger.failing[task_id] = "cancelled"
    assert (await site.ended(task_id))["status"] == "cancelled"


async def test_a_blocked_caller_that_leaves_stops_the_engine_within_a_second(site: Site) -> None:
    lost = await lost_calls(site)
    waiting = len([one for one in await site.engine_calls() if one["waiting"]])
    async with async_client(site) as client:
        calling = asyncio.create_task(call(site, client, "hang after 0 as leaver"))
        await site.engine_waits("waiting", waiting + 1)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await stopped_in_time(site, lost + 1)
    [(task_id, request)] = site.rows("SELECT id, request FROM tasks WHERE instr(request, 'as leaver')")
    assert isinstance(request, bytes)
    site.ledger.accept(str(task_id), request)
    site.ledger.failing[str(task_id)] = "cancelled"
    assert (await site.ended(str(task_id)))["status"] == "cancelled"
