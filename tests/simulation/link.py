"""One connection of the in-memory network: a request delivered to an application, its answer on the way back.

What the server side sees is what uvicorn shows: after a disconnect `receive` says so, while `send` does nothing.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import Protocol, TypeAlias

from inferpool.client.transport import HttpRequest, TransportError
from tests.simulation.loop import NEUTRAL, Process, VirtualLoop

Message: TypeAlias = MutableMapping[str, object]

HIGH_WATER = 256 * 1024
"""Bytes under way to a client that does not read, above which the server's `send` waits."""


class Inbox:
    """The client's end: the head of the answer, the pieces of its body, their end or a break."""

    def __init__(self, loop: VirtualLoop, request: HttpRequest) -> None:
        self._loop = loop
        self._request = request
        self._pieces: deque[bytes] = deque()
        self._awaited: asyncio.Future[None] | None = None
        self._status: int | None = None
        self.headers: dict[str, str] = {}
        self.undisturbed = False
        """The network does nothing to this connection."""
        self.answered_by = ""
        """The process that the request was delivered to."""
        self.complete = False
        self.broken: str | None = None
        self.unread = 0
        self.drained: Callable[[], None] = _nothing

    @property
    def status(self) -> int:
        if self._status is None:
            raise TransportError("no head yet")
        return self._status

    def head(self, status: int, headers: dict[str, str]) -> None:
        """The head arrives."""
        self._status, self.headers = status, headers
        self._wake()

    def piece(self, body: bytes) -> None:
        """A part of the body arrives."""
        self._pieces.append(body)
        self.unread += len(body)
        self._wake()

    def end(self) -> None:
        """The body's end arrives."""
        self.complete = True
        self._wake()

    def fail(self, why: str) -> None:
        """The client notices that the connection is gone."""
        if not self.complete and self.broken is None:
            self.broken = why
            self._wake()

    async def wait_head(self) -> None:
        """Until the head is there; raises `TransportError`."""
        while self._status is None:
            if self.broken is not None:
                raise TransportError(f"{self._request.url}: {self.broken}")
            await self._next(self._request.timeout_s)

    async def read(self) -> bytes:
        return b"".join([part async for part in self])

    def parts(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self.complete:
                raise StopAsyncIteration
            if self.broken is not None:
                raise TransportError(f"{self._request.url}: {self.broken}")
            await self._next(self._request.silence_s)
        part = self._pieces.popleft()
        self.unread -= len(part)
        self.drained()
        return part

    async def _next(self, patience_s: float | None) -> None:
        self._awaited = self._loop.create_future()
        if patience_s is None:
            await self._awaited
            return
        try:
            async with asyncio.timeout(patience_s):
                await self._awaited
        except TimeoutError as error:
            raise TransportError(f"{self._request.url} was silent for {patience_s:g} s") from error

    def _wake(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)


def _nothing() -> None:
    """Nobody waits for room."""


class Delays(Protocol):
    """Draws how long a message is under way."""

    def __call__(self) -> float: ...


class Outlet:
    """The server's end of one delivery: `receive` with `send`, as an application is given them."""

    def __init__(self, loop: VirtualLoop, request: HttpRequest, inbox: Inbox | None, latency: Delays) -> None:
        """`inbox` is None where nobody sees the answer."""
        self._loop = loop
        self._request: HttpRequest | None = request
        self._inbox = inbox
        self._latency = latency
        self._arrival = 0.0
        self._gone: asyncio.Future[None] = loop.create_future()
        self._room: asyncio.Future[None] | None = None
        self.finished = False
        """The application sent its answer's end."""
        self.deaf = False
        """The connection is broken: nothing sent arrives, although this side may not know it yet."""
        if inbox is not None:
            inbox.drained = self._drained

    async def receive(self) -> Message:
        """The request, at the second call the client's disconnect."""
        if self._request is not None:
            request, self._request = self._request, None
            return {"type": "http.request", "body": request.body, "more_body": False}
        await asyncio.shield(self._gone)
        return {"type": "http.disconnect"}

    def disconnect(self) -> None:
        """The server notices that the client is gone."""
        self.deaf = True
        if not self._gone.done():
            self._gone.set_result(None)
        self._drained()

    async def send(self, message: Message) -> None:
        """Put a part of the answer on its way."""
        if self._gone.done():
            return
        if message["type"] == "http.response.start":
            self._deliver(*_head_of(message))
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        assert isinstance(body, bytes)
        if not more:
            self.finished = True
        self._deliver_body(body, last=not more)
        inbox = self._inbox
        while inbox is not None and inbox.unread > HIGH_WATER and not self._gone.done():
            self._room = self._loop.create_future()
            await self._room

    def _deliver_body(self, body: bytes, *, last: bool) -> None:
        if body:
            self._later(_piece, body)
        if last:
            self._later(_end, b"")

    def _deliver(self, status: int, headers: dict[str, str]) -> None:
        if self._inbox is not None and not self.deaf:
            self._loop.call_at(self._when(), self._inbox.head, status, headers, context=NEUTRAL)

    def _later(self, arrive: Callable[[Inbox, bytes], None], body: bytes) -> None:
        if self._inbox is not None and not self.deaf:
            self._loop.call_at(self._when(), arrive, self._inbox, body, context=NEUTRAL)

    def _when(self) -> float:
        """When the next message arrives: never before the one that was sent before it."""
        self._arrival = max(self._arrival, self._loop.time() + self._latency())
        return self._arrival

    def _drained(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)


def _head_of(message: Message) -> tuple[int, dict[str, str]]:
    status, headers = message["status"], message.get("headers", [])
    assert isinstance(status, int)
    assert isinstance(headers, list | tuple)
    return status, {bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1") for name, value in headers}


def _piece(inbox: Inbox, body: bytes) -> None:
    inbox.piece(body)


def _end(inbox: Inbox, _: bytes) -> None:
    inbox.end()


class Link:
    """One connection between a process that asks and a process that answers."""

    __slots__ = ("client", "closed", "inbox", "outlet", "server")

    def __init__(self, client: Process, inbox: Inbox) -> None:
        self.client = client
        self.inbox = inbox
        self.outlet: Outlet | None = None
        """None until the request is delivered."""
        self.server: Process | None = None
        self.closed = False
        """The client closed its end."""
