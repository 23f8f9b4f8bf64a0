"""The official `anthropic` SDK against real processes: server, worker, scripted engine.

It keeps its own retries (two), so that whatever it would run again needlessly stands as a row that the ledger does not know.
"""

import asyncio

import anthropic
import pytest

from tests.engines.directives import answer_to
from tests.journeys.anthropic_calls import (
    MOST,
    async_client,
    call,
    call_sync,
    close_early,
    events_sync,
    says,
    stream_text,
    streaming,
    text_in,
)
from tests.journeys.clients import calls_of, lost_calls, note_failure, stopped_in_time
from tests.journeys.fleet import CALLERS, POOL
from tests.journeys.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.journey]


@pytest.fixture(scope="module")
def site(clients_site: Site) -> Site:
    """The site of the clients."""
    return clients_site


async def test_a_blocked_call_of_the_blocking_client_gets_the_engines_message(site: Site) -> None:
    message = await asyncio.to_thread(call_sync, site, "say 6 words")
    assert text_in(message) == answer_to("say 6 words")
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == ("end_turn", 3, 6)


async def test_a_stream_of_the_blocking_client_has_every_event_of_the_engine_but_the_pings(site: Site) -> None:
    events = await asyncio.to_thread(events_sync, site, "say 3 words every 2 ms")
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_a_stream_of_the_asynchronous_client_adds_up_to_the_whole_message(site: Site) -> None:
    text = "say 7 words every 2 ms"
    async with async_client(site) as client, streaming(site, client, text) as (task_id, stream):
        words = [word async for word in stream.text_stream]
        message = await stream.get_final_message()
    assert "".join(words) == text_in(message) == answer_to(text)
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == ("end_turn", 6, 7)
    assert (await site.ended(task_id))["usage"] == {"prompt_tokens": 6, "completion_tokens": 7}


async def test_many_asynchronous_calls_at_once_each_get_their_own_answer(site: Site) -> None:
    whole = [f"say 5 words as whole-{number}" for number in range(CALLERS)]
    streamed = [f"say 5 words every 1 ms as streamed-{number}" for number in range(CALLERS)]
    async with async_client(site) as client:
        messages, texts = await asyncio.gather(
            asyncio.gather(*[call(site, client, text) for text in whole]),
            asyncio.gather(*[stream_text(site, client, text) for text in streamed]),
        )
    assert [text_in(message) for message in messages] == [answer_to(text) for text in whole]
    assert texts == [answer_to(text) for text in streamed]


async def test_tokens_are_counted_by_the_engine(site: Site) -> None:
    async with async_client(site) as client:
        raw = await client.messages.with_raw_response.count_tokens(model=POOL, messages=says("one two three"))
    site.ledger.accept(str(raw.headers["inferpool-task-id"]), raw.http_request.content)
    assert (await raw.parse()).input_tokens == 3
    assert [one["path"] for one in await site.engine_calls() if one["directive"] == "one two three"] == [
        "/v1/messages/count_tokens"
    ]


async def test_the_clients_headers_go_along_to_the_engine_its_key_does_not(site: Site) -> None:
    async with async_client(site) as client:
        await call(site, client, "say 1 words as headers")
    [names] = [one["headers"] for one in await site.engine_calls() if one["directive"] == "say 1 words as headers"]
    assert isinstance(names, list)
    assert "anthropic-version" in names
    assert {"x-api-key", "authorization"} & set(names) == set()


async def test_a_model_that_nobody_published_is_404_with_the_nearest_names(site: Site) -> None:
    async with async_client(site) as client:
        with pytest.raises(anthropic.NotFoundError, match=POOL) as caught:
            await client.messages.create(model="wrods", max_tokens=MOST, messages=says("say 1 words"))
    assert caught.value.type == "not_found_error"
    assert caught.value.request_id == caught.value.response.headers["x-request-id"]
    assert caught.value.response.json()["error"]["code"] == "model_not_found"
    assert "inferpool-task-id" not in caught.value.response.headers


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_400_of_the_engine_passes_through_with_its_body(site: Site, *, streamed: bool) -> None:
    text = f"status 400 as {'streamed' if streamed else 'whole'}"
    async with async_client(site) as client:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.messages.create(model=POOL, max_tokens=MOST, messages=says(text), stream=streamed)
    assert caught.value.response.json() == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "as the script says"},
    }
    note_failure(site.ledger, caught.value)
    assert await calls_of(site, text) == 1


async def test_an_overloaded_engine_is_asked_again_by_the_server(site: Site) -> None:
    text = "status 529 retry-after 0 times 2 say 3 words as again"
    async with async_client(site) as client:
        message = await call(site, client, text)
    assert text_in(message) == answer_to(text)
    assert await calls_of(site, text) == 3


async def test_an_engine_that_fails_at_every_try_is_an_error_that_the_client_does_not_run_again(site: Site) -> None:
    text = "status 529 retry-after 0 as always"
    async with async_client(site) as client:
        with pytest.raises(anthropic.OverloadedError, match="as the script says") as caught:
            await client.messages.create(model=POOL, max_tokens=MOST, messages=says(text))
    assert caught.value.type == "overloaded_error"
    task_id = note_failure(site.ledger, caught.value)
    assert [attempt["counted"] for attempt in await site.attempts(task_id)] == [True] * 3
    assert await calls_of(site, text) == 3


async def test_a_stream_that_broke_after_a_part_was_shown_ends_in_an_error_while_its_task_goes_on(site: Site) -> None:
    text = "say 6 words gate broken after 3 break after 3 times 1"
    async with async_client(site) as client, streaming(site, client, text) as (task_id, stream):
        words = aiter(stream.text_stream)
        seen = [await anext(words) for _ in range(3)]
        await site.open_gate("broken")
        with pytest.raises(anthropic.APIStatusError) as caught:
            await anext(words)
    assert (caught.value.type, code_of(caught.value)) == ("api_error", "worker_lost")
    assert answer_to(text).startswith("".join(seen))
    row = await site.ended(task_id)
    assert (row["status"], row["attempt"]) == ("completed", 2)


def code_of(error: anthropic.APIStatusError) -> object:
    """Our code, in the body of an error."""
    assert isinstance(error.body, dict)
    return error.body["error"]["code"]


async def test_closing_a_stream_stops_the_engine_within_a_second(site: Site) -> None:
    lost = await lost_calls(site)
    async with async_client(site) as client:
        async with streaming(site, client, "say 500 words every 20 ms as async") as (task_id, stream):
            words = aiter(stream.text_stream)
            assert await anext(words) == "async-0"
        await stopped_in_time(site, lost + 1)
    site.ledger.failing[task_id] = "cancelled"
    assert (await site.ended(task_id))["status"] == "cancelled"


async def test_closing_a_stream_of_the_blocking_client_stops_the_engine_within_a_second(site: Site) -> None:
    lost = await lost_calls(site)
    task_id = await asyncio.to_thread(close_early, site, "say 500 words every 20 ms as sync")
    await stopped_in_time(site, lost + 1)
    site.ledger.failing[task_id] = "cancelled"
    assert (await site.ended(task_id))["status"] == "cancelled"
