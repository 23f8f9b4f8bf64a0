"""The OpenAI routes that make a task of their body: chat completions, later its siblings."""

from inferpool.dispatch.calls import Call
from inferpool.server.blocking import answer_whole
from inferpool.server.following import Following
from inferpool.server.request import Reply, Request
from inferpool.server.site import Site
from inferpool.server.streaming import answer_streamed
from inferpool.wire.openai import CallBody, CallHeaders, read_body, read_headers

_PREFIX = "/v1/"


async def call(site: Site, request: Request) -> Reply | None:
    """`POST /v1/{endpoint}`: queue the body, answer as the engine does, whole or as a stream."""
    body = await request.body(site.options.max_body_bytes)
    headers = read_headers(request.headers)
    endpoint = request.path.removeprefix(_PREFIX)
    known = read_body(endpoint, body)
    ticket = await site.dispatch.intake.submit(_asked(request.owner, endpoint, body, (known, headers)))
    request.task_id = ticket.task_id
    with Following(site, request, ticket) as following:
        if known.streaming:
            return await answer_streamed(following)
        return await answer_whole(following, headers.patience)


def _asked(owner: str, endpoint: str, body: bytes, read: tuple[CallBody, CallHeaders]) -> Call:
    known, headers = read
    return Call(
        owner=owner,
        endpoint=endpoint,
        body=body,
        model=known.model,
        streaming=known.streaming,
        priority=known.priority,
        mode=headers.mode,
        pin=headers.pin,
        metadata=known.metadata or {},
        idempotency_key=headers.idempotency_key,
        persist=headers.persist,
    )
