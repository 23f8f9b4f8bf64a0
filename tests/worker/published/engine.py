"""An engine that answers as something published says."""

from collections.abc import Mapping

import msgspec

from inferpool.client.transport import HttpRequest, TransportError
from tests.worker.memory import MemoryReply, MemoryTransport, pieces_of, whole


class Told(msgspec.Struct, frozen=True):
    """One answer."""

    status: int
    body: bytes
    content_type: str = "application/json"


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """One make of engine. `routes` are answers by `METHOD /path`; what is not among them gets `elsewhere`."""

    make: str
    routes: dict[str, Told]
    elsewhere: Told
    models: list[str]
    alone: dict[str, list[str]] = {}
    """The endpoints of models that serve these alone."""
    slots: int | None = None
    stream: bytes
    """A whole streamed chat completion, with its usage."""
    said: str
    """The words of that stream."""
    broken: bytes
    """A stream that went wrong after its first words."""
    why: str
    """What the failure says of it."""
    refusal: Told
    """Its answer to a request for a model that it does not have."""


def sse(*payloads: str) -> bytes:
    """A stream of these payloads."""
    return "".join(f"data: {payload}\n\n" for payload in payloads).encode()


class PublishedPeer:
    """Such an engine in memory; `chat` is what it answers to the next chat completion."""

    def __init__(self, published: Published) -> None:
        self.published = published
        self.transport = MemoryTransport(self._handle)
        self.up = True
        self.hangs_up_on = ""
        self.changed: dict[str, Told] = {}
        self.chat = published.refusal
        self.asked: list[str] = []
        self.headers: list[Mapping[str, str]] = []

    async def _handle(self, request: HttpRequest) -> MemoryReply:
        route = f"{request.method} /{request.url.split('/', 3)[3]}"
        self.asked.append(route)
        self.headers.append(request.headers)
        if not self.up or (self.hangs_up_on and self.hangs_up_on in request.url):
            raise TransportError("connection refused")
        if route == "POST /v1/chat/completions" and request.body not in {b"{}", b""}:
            return self._reply(self.chat)
        model = msgspec.json.decode(request.body).get("model") if request.body else None
        told = {**self.published.routes, **self.changed}
        return self._reply(told.get(f"{route} {model}") or told.get(route, self.published.elsewhere))

    def _reply(self, told: Told) -> MemoryReply:
        if told.content_type == "text/event-stream":
            return MemoryReply(told.status, {"content-type": told.content_type}, pieces_of(told.body))
        return whole(told.status, told.body, {"content-type": told.content_type})
