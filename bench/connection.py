"""A cheap HTTP/1.1 connection for the load: one request at a time over one kept socket."""

import asyncio
import time
from typing import NamedTuple, cast

import httptools


class Address(NamedTuple):
    """Where a server listens on the loopback, with the path to ask."""

    port: int
    path: str = "/v1/chat/completions"


class Reply(NamedTuple):
    """A whole answer. Times are seconds since the request was written."""

    status: int
    body: bytes
    first_s: float
    """When the first byte of the body arrived."""
    seconds: float


class Broken(ConnectionError):
    """The other side closed the connection before its answer was whole."""


class Connection(asyncio.Protocol):
    """One kept connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._parts: list[bytes] = []
        self._written = self._first = 0.0
        self._reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waited = False

    async def ask(self, request: bytes) -> Reply:
        """Write the request, wait for its answer. Raises `Broken`."""
        self._reply = asyncio.get_running_loop().create_future()
        self._parts = []
        self._first = 0.0
        self._written = time.perf_counter()
        self._transport.write(request)
        self._waited = True
        try:
            return await self._reply
        finally:
            self._waited = False

    def close(self) -> None:
        """Let go of the socket."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the methods below."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits hears of it."""
        if self._waited and not self._reply.done():
            self._reply.set_exception(Broken("the server closed the connection"))

    def on_body(self, body: bytes) -> None:
        """A part of the answer."""
        if not self._parts:
            self._first = time.perf_counter() - self._written
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._reply.done():
            return
        seconds = time.perf_counter() - self._written
        status = self._parser.get_status_code()
        self._reply.set_result(Reply(status, b"".join(self._parts), self._first or seconds, seconds))
        # The parser stays in the state of the last message until the next one begins.
        self._parser = httptools.HttpResponseParser(self)


async def connect(port: int) -> Connection:
    """A new connection to the loopback."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


def post(path: str, body: bytes) -> bytes:
    """A POST of JSON."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    return head.encode() + b"\r\n" + body


def get(path: str) -> bytes:
    """A GET."""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()
