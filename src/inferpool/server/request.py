"""One HTTP request with the way to answer it, cheap enough for the hot routes."""

from typing import Final, TypeAlias, cast

import msgspec

from inferpool.core.access import NOBODY
from inferpool.core.errors import InvalidRequest, TooLarge
from inferpool.core.ids import TaskId
from inferpool.server.asgi import Headers, HttpScope, Receive, Scope, Send
from inferpool.server.media import JSON, Media, check_media
from inferpool.server.whole import WHOLE, Whole
from inferpool.wire.dialects import Dialect, dialect_of

EVENT_STREAM: Final[Headers] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
"""Headers of every event stream: no cache keeps it, no proxy collects it."""
_STATELESS: Final[dict[str, object]] = {}
_BODILESS: Final = frozenset({204, 304})
_PREFIX: Final = "/v1/"


class ClientGone(Exception):
    """The client closed its connection: nobody is left to be answered."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = JSON
    headers: list[tuple[str, str]] = []


Params: TypeAlias = dict[str, str]


class Request:
    """A request; at most one answer is sent through it."""

    __slots__ = (
        "_client",
        "_receive",
        "_send",
        "_whole",
        "caller",
        "endpoint",
        "extra",
        "headers",
        "id",
        "method",
        "only",
        "params",
        "path",
        "query",
        "started",
        "task_id",
        "thing",
        "title",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        http = cast("HttpScope", scope)
        self._receive = receive
        self._send = send
        self._whole = cast("Whole | None", http.get("state", _STATELESS).get(WHOLE))
        self.id = request_id
        self.method = http["method"]
        self.path = http["path"]
        self.query = http["query_string"]
        self.headers: dict[bytes, bytes] = dict(http["headers"])
        self.params: Params = {}
        self.endpoint = endpoint_of(self.path)
        """What the caller asks of an engine; it decides in which dialect errors are told."""
        self.extra: Headers = []
        """Headers of the answer, whatever becomes of the request."""
        self._client = http.get("client")
        self.caller = NOBODY
        """Who asks, once that is known."""
        self.only: str | None = None
        """Whose things alone it may see here; None: everybody's."""
        self.title = ""
        """The method with the route's path, once the route is found."""
        self.thing = ""
        """What the request made, or is about, for the audit."""
        self.task_id: TaskId | None = None
        """The durable task that this request made, as soon as there is one."""
        self.started = False
        """The answer's head is sent: an error can no longer change it."""

    @property
    def owner(self) -> str:
        """Whose the things are that this request makes."""
        return self.caller.subject

    @property
    def address(self) -> str:
        """Where the connection comes from."""
        return "" if self._client is None else self._client[0]

    @property
    def dialect(self) -> Dialect:
        """How this request's errors are told."""
        return dialect_of(self.endpoint)

    async def body(self, limit: int, takes: Media = Media.JSON) -> bytes:
        """The whole body.

        Raises `UnsupportedMediaType`, or `TooLarge` above `limit` bytes: before reading it where its length was told.
        """
        check_media(self.headers, takes)
        told = self.headers.get(b"content-length")
        if told is not None and _length(told) > limit:
            raise TooLarge(f"the body has {told.decode()} bytes; this server takes {limit}")
        whole = None if self._whole is None else self._whole.take_body()
        if whole is not None:
            return whole
        part, more = await self._part()
        if not more:
            return part
        parts, size = [part], len(part)
        while more:
            part, more = await self._part()
            parts.append(part)
            size += len(part)
            if size > limit:
                raise TooLarge(f"the body has more than the {limit} bytes that this server takes")
        return b"".join(parts)

    async def _part(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] != "http.request":
            raise ClientGone
        return cast("bytes", message.get("body", b"")), bool(message.get("more_body"))

    async def gone(self) -> None:
        """Return when the client has closed its connection, or the answer is complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of an answer."""
        await self._send({"type": "http.response.start", "status": status, "headers": self._begun(headers)})

    def _begun(self, headers: Headers) -> Headers:
        """The headers of an answer that is about to be sent, those of every answer among them."""
        self.started = True
        headers = [*headers, *self.extra, (b"x-request-id", self.id.encode())]
        if self.endpoint.startswith(Dialect.MESSAGES):
            headers.append((b"request-id", self.id.encode()))  # where Anthropic's clients look for it
        if self.task_id is not None:
            headers.append((b"inferpool-task-id", self.task_id.encode()))
        return headers

    async def write(self, part: bytes, *, more: bool = True) -> None:
        """Send a part of the answer's body; waits while the client reads slowly."""
        await self._send({"type": "http.response.body", "body": part, "more_body": more})

    async def answer(self, reply: Reply) -> None:
        """Send a whole answer."""
        body = b"" if reply.status in _BODILESS else reply.body
        headers: Headers = []
        if reply.status not in _BODILESS:
            headers = [(b"content-type", reply.content_type), (b"content-length", b"%d" % len(body))]
        headers += [(name.lower().encode(), header_value(value)) for name, value in reply.headers]
        headers = self._begun(headers)
        if self._whole is None or not self._whole.answer(reply.status, headers, body):
            await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await self.write(body, more=False)


def endpoint_of(path: str) -> str:
    """What a path asks of an engine: what stands below `/v1/`; empty where that is nothing."""
    return path.removeprefix(_PREFIX) if path.startswith(_PREFIX) else ""


def header_value(text: str) -> bytes:
    """A value that may stand in a header, whatever an engine or a caller put into it."""
    if text.isascii() and text.isprintable():
        return text.encode()
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text).encode()


def _length(told: bytes) -> int:
    if not told.isdigit():
        raise InvalidRequest("Content-Length is not a number", param="Content-Length")
    return int(told)
