"""Calls by the official `openai` SDK, taken down in the ledger of their site."""

from collections.abc import Iterable

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionUserMessageParam

from tests.journeys.fleet import POOL
from tests.journeys.processes import PATIENCE_S
from tests.journeys.site import Site


def sync_client(site: Site) -> openai.OpenAI:
    """The blocking client; tests use it in a thread."""
    return openai.OpenAI(base_url=site.server_url + "/v1", api_key=site.token or "unused", timeout=PATIENCE_S)


def async_client(site: Site) -> openai.AsyncOpenAI:
    """The asynchronous client."""
    return openai.AsyncOpenAI(base_url=site.server_url + "/v1", api_key=site.token or "unused", timeout=PATIENCE_S)


def says(text: str) -> list[ChatCompletionUserMessageParam]:
    """One message."""
    return [{"role": "user", "content": text}]


def text_in(answer: ChatCompletion) -> str:
    """What the assistant said."""
    return answer.choices[0].message.content or ""


def text_of(chunks: Iterable[ChatCompletionChunk]) -> str:
    """What the assistant said in a stream."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


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
