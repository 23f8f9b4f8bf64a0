"""Claims about what a caller receives: the engine's events, whatever the bytes in which they came."""

import json

import pytest
from hypothesis import HealthCheck, given, settings

from inferpool.wire.sse import SseEvent
from tests.relay.rig import Relay
from tests.relay.streams import Written, said
from tests.wire.test_sse import by_the_book

pytestmark = pytest.mark.anyio
ONE_RELAY = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
"""The relay is the module's: no example leaves anything behind but its own task."""
DONE = SseEvent("[DONE]")


def meant(stream: bytes) -> list[str]:
    """The payloads up to the end mark, as the standard reads the engine's stream."""
    payloads = [event.data for event in by_the_book(stream) if event.data]
    return payloads[: payloads.index(DONE.data)] if DONE.data in payloads else payloads


async def check(relay: Relay, endpoint: str, answer: Written) -> str:
    """The caller of the call, like a later one of its task, gets what was meant; the task's id."""
    got = await relay.stream(endpoint, *answer.segments, inferpool_queue="live")  # a failure shows at once
    assert got.status == 200
    payloads = meant(answer.stream)
    if endpoint == "chat/completions":
        expected = [*map(SseEvent, payloads), DONE]
    else:
        expected = [SseEvent(payload, json.loads(payload)["type"]) for payload in payloads]
    assert by_the_book(got.body) == expected
    *replayed, end = by_the_book(await relay.replayed(got.task_id))
    assert [event.data for event in replayed] == payloads
    assert end.name == "completed"
    return got.task_id


@settings(max_examples=50, suppress_health_check=ONE_RELAY)
@given(said("chat/completions", "[DONE]"))
async def test_a_chat_is_the_same_events_wherever_its_bytes_are_cut(relay: Relay, answer: Written) -> None:
    kept = await relay.answer(await check(relay, "chat/completions", answer))
    assert isinstance(kept, dict)
    assert (kept["choices"][0]["message"]["content"] or "") == "".join(answer.texts)


@settings(max_examples=25, suppress_health_check=ONE_RELAY)
@given(said("messages"))
async def test_messages_keep_their_names_wherever_their_bytes_are_cut(relay: Relay, answer: Written) -> None:
    await check(relay, "messages", answer)


@settings(max_examples=25, suppress_health_check=ONE_RELAY)
@given(said("responses"))
async def test_responses_keep_their_names_wherever_their_bytes_are_cut(relay: Relay, answer: Written) -> None:
    await check(relay, "responses", answer)
