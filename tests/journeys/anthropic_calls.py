"""Calls by the official `anthropic` SDK, taken down in the ledger of their site."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anthropic
from anthropic.lib.streaming import AsyncMessageStream
from anthropic.types import Message, MessageParam

from tests.journeys.fleet import POOL
from tests.journeys.processes import PATIENCE_S
from tests.journeys.site import Site

MOST: Final = 1000
"""`max_tokens`, which this API demands; the scripted engine does not look at it."""


def sync_client(site: Site) -> anthropic.Anthropic:
    """The blocking client; tests use it in a thread."""
    return anthropic.Anthropic(base_url=site.server_url, api_key=site.token or "unused", timeout=PATIENCE_S)


def async_client(site: Site) -> anthropic.AsyncAnthropic:
    """The asynchronous client."""
    return anthropic.AsyncAnthropic(base_url=site.server_url, api_key=site.token or "unused", timeout=PATIENCE_S)


def says(text: str) -> list[MessageParam]:
    """One message."""
    return [{"role": "user", "content": text}]


def text_in(message: Message) -> str:
    """What the assistant said."""
    return "".join(block.text for block in message.content if block.type == "text")


def call_sync(site: Site, text: str) -> Message:
    """A blocked call of the blocking client."""
    with sync_client(site) as client:
        raw = client.messages.with_raw_response.create(model=POOL, max_tokens=MOST, messages=says(text))
        site.ledger.accept(str(raw.headers["inferpool-task-id"]), raw.http_request.content)
        site.ledger.answers[str(raw.headers["inferpool-task-id"])] = raw.http_response.content
        return raw.parse()


async def call(site: Site, client: anthropic.AsyncAnthropic, text: str) -> Message:
    """A blocked call of the asynchronous client."""
    raw = await client.messages.with_raw_response.create(model=POOL, max_tokens=MOST, messages=says(text))
    site.ledger.accept(str(raw.headers["inferpool-task-id"]), raw.http_request.content)
    site.ledger.answers[str(raw.headers["inferpool-task-id"])] = raw.http_response.content
    return await raw.parse()


@asynccontextmanager
async def streaming(
    site: Site, client: anthropic.AsyncAnthropic, text: str
) -> AsyncIterator[tuple[str, AsyncMessageStream]]:
    """A streamed call: the task's id with the stream."""
    async with client.messages.stream(model=POOL, max_tokens=MOST, messages=says(text)) as stream:
        task_id = str(stream.response.headers["inferpool-task-id"])
        site.ledger.accept(task_id, stream.response.request.content)
        yield task_id, stream


async def stream_text(site: Site, client: anthropic.AsyncAnthropic, text: str) -> str:
    """What a whole stream says."""
    async with streaming(site, client, text) as (_, stream):
        return await stream.get_final_text()


def events_sync(site: Site, text: str) -> list[dict[str, object]]:
    """The events of a whole stream of the blocking client."""
    with sync_client(site) as client:
        stream = client.messages.create(model=POOL, max_tokens=MOST, messages=says(text), stream=True)
        site.ledger.accept(str(stream.response.headers["inferpool-task-id"]), stream.response.request.content)
        return [event.to_dict() for event in stream]


def close_early(site: Site, text: str) -> str:
    """A stream of the blocking client that is closed after three words; the task's id."""
    with sync_client(site) as client, client.messages.stream(model=POOL, max_tokens=MOST, messages=says(text)) as said:
        task_id = str(said.response.headers["inferpool-task-id"])
        site.ledger.accept(task_id, said.response.request.content)
        words = iter(said.text_stream)
        for _ in range(3):
            next(words)
        return task_id
