"""The session routes as the worker calls them (spec section 4)."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from inferpool.client.caller import JSON, ServerCaller
from inferpool.client.transport import HttpRequest, Reply, TransportError
from inferpool.core.errors import ProtocolBroken
from inferpool.wire.sessions import (
    EPOCH_HEADER,
    SECRET_HEADER,
    EventsReply,
    Frame,
    RegisterReply,
    RegisterRequest,
    decode_frame,
)
from inferpool.wire.sse import SseParser

_SESSIONS = "/api/v1/sessions"

_encode = msgspec.json.Encoder().encode
_decode_registered = msgspec.json.Decoder(RegisterReply).decode
_decode_events = msgspec.json.Decoder(EventsReply).decode


T = TypeVar("T")


class SessionKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a session route asks for: whose it is, the proof, the registration that speaks."""

    session_id: str
    secret: str
    epoch: int

    @property
    def path(self) -> str:
        return f"{_SESSIONS}/{self.session_id}"

    @property
    def headers(self) -> dict[str, str]:
        return {SECRET_HEADER: self.secret, EPOCH_HEADER: str(self.epoch)}


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a worker waits for its server, in seconds."""

    answer_s: float = 10.0
    """For the answer's head, then for each further piece of its body."""
    channel_s: float = 15.0
    """For the next sign of life on the channel."""


class ServerClient:
    """Speaks for sessions. Each call raises `TransportError`, or the error that the server told."""

    def __init__(self, caller: ServerCaller, patience: Patience | None = None) -> None:
        self._caller = caller
        self._patience = patience or Patience()

    async def register(self, request: RegisterRequest, secret: str) -> RegisterReply:
        """Register; raises `SessionReplaced`, `NameInUse`, `ProtocolUnsupported` beside the general errors."""
        headers = {**JSON, SECRET_HEADER: secret}
        body = await self._caller.call(self._request("POST", _SESSIONS, headers, _encode(request)))
        return _decoded(_decode_registered, body)

    async def events(self, key: SessionKey, batch: bytes) -> EventsReply:
        """Hand over an encoded batch of events, possibly an empty one."""
        request = self._request("POST", key.path + "/events", {**JSON, **key.headers}, batch)
        return _decoded(_decode_events, await self._caller.call(request))

    async def request_body(self, key: SessionKey, path: str) -> bytes:
        """A request body that was too big for its frame, by the path that the frame told."""
        return await self._caller.call(self._request("GET", path, key.headers))

    async def leave(self, key: SessionKey) -> None:
        """Begin the leave: no new tasks, the uplink stays open."""
        await self._caller.call(self._request("DELETE", key.path, key.headers))

    @asynccontextmanager
    async def channel(self, key: SessionKey) -> AsyncIterator[AsyncIterator[Frame]]:
        """Bind the channel; the frames end with `TransportError` when it is lost, or silent for too long."""
        request = self._request("GET", key.path + "/channel", {**key.headers, "accept": "text/event-stream"})
        request = msgspec.structs.replace(request, silence_s=self._patience.channel_s)
        async with self._caller.open(request) as reply:
            yield _frames(reply)

    def _request(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> HttpRequest:
        wait = self._patience.answer_s
        return self._caller.request(method, path, headers, body, timeout_s=wait, silence_s=wait)


async def _frames(reply: Reply) -> AsyncIterator[Frame]:
    parser = SseParser()
    async for piece in reply.parts():
        for event in parser.feed(piece):
            frame = decode_frame(event.name, event.data)
            if frame is not None:
                yield frame
    raise TransportError("the server closed the channel")


def _decoded(decode: Callable[[bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except msgspec.MsgspecError as error:
        raise ProtocolBroken(f"the server's answer is malformed: {error}") from error
