"""The official `openai` SDK against real processes: server, worker, scripted engine.

It keeps its own retries (two), so that whatever it would run again needlessly stands as a row that the ledger does not know.
"""

import asyncio

import openai
import pytest

from tests.engines.answers import DIMENSIONS
from tests.engines.directives import answer_to
from tests.journeys.clients import calls_of, lost_calls, note_failure, stopped_in_time
from tests.journeys.fleet import CALLERS, POOL
from tests.journeys.openai_calls import (
    async_client,
    call,
    call_sync,
    close_early,
    open_stream,
    says,
    stream_sync,
    stream_text,
    sync_client,
    text_in,
    text_of,
)
from tests.journeys.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.journey]


@pytest.fixture(scope="module")
def site(clients_site: Site) -> Site:
    """The site of the clients."""
    return clients_site


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


async def vectors_of(client: openai.AsyncOpenAI, texts: list[str]) -> list[list[float]]:
    """What an engine, asked directly, or by a server, says of the texts."""
    return [one.embedding for one in (await client.embeddings.create(model=POOL, input=texts)).data]


async def test_vectors_are_the_engines_own_however_they_are_asked_for(site: Site) -> None:
    texts = ["red", "green", "a longer text"]
    async with (
        async_client(site) as client,
        openai.AsyncOpenAI(base_url=site.engine_url + "/v1", api_key="-") as direct,
    ):
        wanted = await vectors_of(direct, texts)
        plain = await client.embeddings.with_raw_response.create(model=POOL, input=texts, encoding_format="float")
        packed = await client.embeddings.with_raw_response.create(model=POOL, input=texts)
    for raw in (plain, packed):
        site.ledger.accept(str(raw.headers["inferpool-task-id"]), raw.http_request.content)
        site.ledger.answers[str(raw.headers["inferpool-task-id"])] = raw.http_response.content
        assert [one.embedding for one in raw.parse().data] == wanted
    assert [b"base64" in raw.http_request.content for raw in (plain, packed)] == [False, True]


def vector_sync(site: Site, text: str) -> list[float]:
    """One vector by the blocking client."""
    with sync_client(site) as client:
        raw = client.embeddings.with_raw_response.create(model=POOL, input=text)
        site.ledger.accept(str(raw.headers["inferpool-task-id"]), raw.http_request.content)
        return raw.parse().data[0].embedding


async def test_the_blocking_client_gets_its_vector(site: Site) -> None:
    assert len(await asyncio.to_thread(vector_sync, site, "blue")) == DIMENSIONS


async def test_a_refusal_of_vectors_passes_through(site: Site) -> None:
    async with async_client(site) as client:
        with pytest.raises(openai.UnprocessableEntityError, match="as the script says") as caught:
            await client.embeddings.create(model=POOL, input="status 422")
    note_failure(site.ledger, caught.value)


async def test_a_bare_prompt_is_completed_whole_as_streamed(site: Site) -> None:
    async with async_client(site) as client:
        raw = await client.completions.with_raw_response.create(model=POOL, prompt="say 4 words as bare")
        site.ledger.accept(str(raw.headers["inferpool-task-id"]), raw.http_request.content)
        stream = await client.completions.create(model=POOL, prompt="say 4 words as bare", stream=True)
        site.ledger.accept(str(stream.response.headers["inferpool-task-id"]), stream.response.request.content)
        streamed = [chunk.choices[0].text async for chunk in stream]
    assert raw.parse().choices[0].text == "".join(streamed) == answer_to("say 4 words as bare")


async def test_a_client_that_waits_no_longer_is_told_so_and_does_not_ask_again(site: Site) -> None:
    text = "say 2 words gate patience"
    async with async_client(site) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(
                model=POOL, messages=says(text), extra_headers={"x-stainless-read-timeout": "1"}
            )
    assert (caught.value.status_code, caught.value.code) == (504, "wait_timeout")
    task_id = str(caught.value.response.headers["inferpool-task-id"])
    site.ledger.accept(task_id, caught.value.request.content)
    await site.open_gate("patience")
    assert (await site.ended(task_id))["status"] == "completed"


async def test_a_repeat_under_one_key_gets_the_same_answer_another_body_a_conflict(site: Site) -> None:
    key, text = {"Idempotency-Key": "python"}, "say 3 words as keyed"
    async with async_client(site) as client:
        chats = client.chat.completions
        for _ in range(2):
            raw = await chats.with_raw_response.create(model=POOL, messages=says(text), extra_headers=key)
            site.ledger.accept(str(raw.headers["inferpool-task-id"]), raw.http_request.content)
        with pytest.raises(openai.ConflictError) as caught:
            await chats.create(model=POOL, messages=says("say 4 words"), extra_headers=key)
    assert caught.value.code == "conflict"
    assert await calls_of(site, text) == 1
