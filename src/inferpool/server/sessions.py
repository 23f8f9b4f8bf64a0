"""The session routes: what workers speak (spec section 4), what anyone may look at."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Final

import msgspec

from inferpool.core.errors import Forbidden, InvalidRequest, NotFound, ProtocolUnsupported
from inferpool.core.ids import SessionId, TaskId
from inferpool.core.session import PROTOCOL, Session
from inferpool.dispatch.credentials import Credentials
from inferpool.server.presence import Presence
from inferpool.server.query import Query, path_id
from inferpool.server.request import EVENT_STREAM, Reply, Request, header_value
from inferpool.server.site import Site
from inferpool.wire.problems import malformed
from inferpool.wire.registry import SessionList, show_session
from inferpool.wire.sessions import EPOCH_HEADER, SECRET_HEADER, EventsReply, RegisterRequest, decode_events

_SECRET: Final = SECRET_HEADER.lower().encode()
_EPOCH: Final = EPOCH_HEADER.lower().encode()

BATCH_LIMIT: Final = 256 * 2**20
"""Bytes of what a worker sends at once: an engine's answer may be longer than a caller's request."""

_encode: Final = msgspec.json.Encoder().encode
_decode_registration: Final = msgspec.json.Decoder(RegisterRequest).decode
_NOTHING_REFUSED: Final = _encode(EventsReply())


class _Spoken(msgspec.Struct, frozen=True):
    protocol: int = PROTOCOL


_decode_protocol: Final = msgspec.json.Decoder(_Spoken).decode


async def register(site: Site, request: Request) -> Reply:
    """Take a worker in under a new epoch."""
    asked = _read_registration(await request.body(BATCH_LIMIT))
    secret = request.headers.get(_SECRET)
    told = None if secret is None else secret.decode("latin-1")
    reply = await site.dispatch.desk.register(asked, told, request.owner, request.caller.limits)
    request.thing = reply.session_id
    return Reply(body=_encode(reply))


def _read_registration(body: bytes) -> RegisterRequest:
    try:
        return _decode_registration(body)
    except (msgspec.DecodeError, RecursionError) as error:
        _check_protocol(body)
        raise malformed(error) from error


def _check_protocol(body: bytes) -> None:
    """A registration of another protocol need not fit ours: it is the protocol that must be told."""
    with suppress(msgspec.DecodeError, RecursionError):
        spoken = _decode_protocol(body).protocol
        if spoken != PROTOCOL:
            behind = "the server" if spoken > PROTOCOL else "the worker"
            raise ProtocolUnsupported(
                f"the worker speaks protocol {spoken}, this server {PROTOCOL}: upgrade {behind}", param="protocol"
            )


async def events(site: Site, request: Request) -> Reply:
    """Take an ordered batch of a worker's events."""
    who = _credentials(request)
    body = await request.body(BATCH_LIMIT)
    try:
        batch = decode_events(body) if body else []
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from error
    refused = await site.dispatch.desk.take(who, batch)
    return Reply(body=_encode(EventsReply(refused)) if refused else _NOTHING_REFUSED)


async def channel(site: Site, request: Request) -> None:
    """Bind the session's channel: frames as they come, until it is replaced, lost, its token ends, or the server closes."""
    bound = await site.dispatch.desk.bind(_credentials(request))
    try:
        with site.dispatch.access.standing(request.caller.token_id, bound.lost), Presence(request):
            await request.start(200, list(EVENT_STREAM))
            await _send_frames(request, bound.frames())
            await request.write(b"", more=False)
    finally:
        bound.lost()


async def _send_frames(request: Request, frames: AsyncIterator[bytes]) -> None:
    try:
        async for part in frames:
            await request.write(part)
    finally:
        if isinstance(frames, AsyncGenerator):
            await frames.aclose()


async def request_body(site: Site, request: Request) -> Reply:
    """A request body that was too big for its `infer` frame."""
    attempt = request.params["attempt"]
    if not attempt.isascii() or not attempt.isdigit() or len(attempt) > 9:
        raise NotFound(f"there is no attempt {attempt[:100]!r}")
    task_id = TaskId(path_id(request, "task_id", "task"))
    stored = await site.dispatch.desk.request_body(_credentials(request), task_id, int(attempt))
    return Reply(body=stored.request, content_type=header_value(stored.content_type))


async def leave(site: Site, request: Request) -> Reply:
    """Begin the session's leave: its own worker with its secret, or its owner, an operator without one."""
    session_id = SessionId(path_id(request, "session_id", "session"))
    spoken = _SECRET in request.headers or _EPOCH in request.headers
    if not spoken:
        await _find(site, request, session_id)
    await site.dispatch.desk.leave(_credentials(request) if spoken else session_id)
    return Reply(status=204)


async def list_all(site: Site, request: Request) -> Reply:
    """Sessions, newest first."""
    query = Query(request, {"cursor", "limit"})
    limit = query.limit()
    before = query.cursor()
    found = await site.dispatch.reader.sessions(None if before is None else SessionId(before), limit + 1, request.only)
    page = [show_session(session) for session in found[:limit]]
    return Reply(body=_encode(SessionList(page, page[-1].id if len(found) > limit else None)))


async def read(site: Site, request: Request) -> Reply:
    """One session."""
    session_id = SessionId(path_id(request, "session_id", "session"))
    Query(request)
    return Reply(body=_encode(show_session(await _find(site, request, session_id))))


async def _find(site: Site, request: Request, session_id: SessionId) -> Session:
    """The session, if its caller may see it. Raises `NotFound`."""
    session = await site.dispatch.reader.session(session_id)
    if session is None:
        raise NotFound(f"there is no session {session_id}")
    if request.only not in {None, session.subject}:
        raise NotFound.unseen(f"there is no session {session_id}")
    return session


def _credentials(request: Request) -> Credentials:
    secret = request.headers.get(_SECRET)
    if secret is None:
        raise Forbidden(f"the header {SECRET_HEADER} is missing", param=SECRET_HEADER)
    epoch = request.headers.get(_EPOCH, b"")
    if not epoch.isdigit() or len(epoch) > 18:
        raise InvalidRequest(f"the header {EPOCH_HEADER} is a number", param=EPOCH_HEADER)
    return Credentials(SessionId(request.params["session_id"]), secret.decode("latin-1"), int(epoch), request.only)
