"""The routes that make a task of their body: the APIs under `/v1/`, each llm's own."""

from collections.abc import Awaitable, Mapping
from typing import Final

from inferpool.core.task import QueueMode
from inferpool.dispatch.calls import Call
from inferpool.server.blocking import answer_whole
from inferpool.server.following import Following
from inferpool.server.media import Media
from inferpool.server.query import Query
from inferpool.server.request import Reply, Request, header_value
from inferpool.server.site import Site
from inferpool.server.streaming import answer_streamed
from inferpool.wire.dialects import Dialect
from inferpool.wire.openai import FORM_ENDPOINTS, CallBody, CallHeaders, read_body, read_form_body, read_headers
from inferpool.wire.tasks import DEFAULT_ENDPOINT, check_endpoint

_NEEDED: Final = b"anthropic-"
"""Headers that an API of the engine needs begin with this."""
_CREDENTIALS: Final = (b"auth", b"key", b"token", b"secret")


def call(site: Site, request: Request) -> Awaitable[Reply | None]:
    """`POST /v1/{endpoint}`: queue the body, answer as the engine does, whole or as a stream."""
    return _run(site, request, read_headers(request.headers), None)


async def call_llm(site: Site, request: Request) -> Reply | None:
    """`POST /api/v1/llms/{name}/infer?endpoint=…`: the same for one llm alone, which must be live unless told otherwise."""
    endpoint = Query(request, {"endpoint"}).text("endpoint") or DEFAULT_ENDPOINT
    check_endpoint(endpoint)
    request.endpoint = endpoint
    return await _run(site, request, read_headers(request.headers, QueueMode.LIVE), request.params["name"])


async def _run(site: Site, request: Request, headers: CallHeaders, llm: str | None) -> Reply | None:
    is_form = request.endpoint in FORM_ENDPOINTS
    body = await request.body(site.options.max_body_bytes, Media.FORM if is_form else Media.JSON)
    if is_form:
        known = read_form_body(body, request.headers.get(b"content-type", b"").decode("latin-1"))
    else:
        known = read_body(request.endpoint, body, named=llm is not None)
    ticket = await site.dispatch.intake.submit(_asked(request, body, known, headers, llm))
    request.task_id = ticket.task_id
    with Following(site, request, ticket) as following:
        if known.streaming:
            return await answer_streamed(following)
        return await answer_whole(following, headers.patience)


def _asked(request: Request, body: bytes, known: CallBody, headers: CallHeaders, llm: str | None) -> Call:
    kind = request.headers.get(b"content-type")
    return Call(
        owner=request.owner,
        limits=request.caller.limits,
        endpoint=request.endpoint,
        body=body,
        content_type="application/json" if kind is None else kind.decode("latin-1"),
        headers=_needed(request.headers) if request.dialect is Dialect.MESSAGES else {},
        model=known.model if llm is None else llm,
        streaming=known.streaming,
        priority=known.priority,
        mode=headers.mode,
        pin=headers.pin or llm is not None,
        metadata=known.labels,
        idempotency_key=headers.idempotency_key,
        persist=headers.persist or known.background,
    )


def _needed(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The caller's headers that go along to the engine; credentials never."""
    return {
        name.decode("latin-1"): header_value(value.decode("latin-1")).decode()
        for name, value in headers.items()
        if name.startswith(_NEEDED) and not any(word in name for word in _CREDENTIALS)
    }
