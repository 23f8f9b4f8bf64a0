"""HTTP over real sockets, by aiohttp, behind the port of `client/transport.py`.

This is the one border at which aiohttp's exceptions become `TransportError`. Redirects are never followed, proxies of the
environment never used, cookies never kept: a worker talks to the addresses that it was given.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from inferpool.client.transport import HttpRequest, Reply, TransportError

_PIECE = 256 * 1024
"""Bytes handed to the socket at once, so that a body of many megabytes does not hold up the event loop."""


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How connections are made, how long they are kept. Durations in seconds."""

    connect_s: float = 10.0
    """For a TCP connection with its TLS handshake."""
    keep_alive_s: float = 60.0
    """For an unused connection; less than the peer's own limit, else requests race its closing."""
    dead_peer_s: int = 30
    """Unacknowledged bytes of our own for so long mean that the peer is gone."""


class AiohttpTransport:
    """Connections of one kind, to any number of addresses; made inside a running event loop, closed by `close`."""

    def __init__(self, options: HttpOptions | None = None) -> None:
        self._options = options or HttpOptions()
        self._session: aiohttp.ClientSession | None = None

    def open(self, request: HttpRequest) -> AbstractAsyncContextManager[Reply]:
        """See `Transport.open`."""
        if self._session is None:
            self._session = _session(self._options)
        return _Exchange(self._session, request)

    async def close(self) -> None:
        """Close every connection; the next `open` begins anew."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


def _session(options: HttpOptions) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=options.keep_alive_s,
        socket_factory=_SocketFactory(options.dead_peer_s),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"accept-encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=options.connect_s),
        trust_env=False,
    )


class _SocketFactory:
    """Makes sockets that notice a peer which vanished without a word."""

    def __init__(self, dead_peer_s: int) -> None:
        self._dead_peer_s = dead_peer_s

    def __call__(
        self, address: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]
    ) -> socket.socket:
        made = socket.socket(family=address[0], type=address[1], proto=address[2])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", self._dead_peer_s),
            ("TCP_KEEPINTVL", max(1, self._dead_peer_s // 3)),
            ("TCP_USER_TIMEOUT", self._dead_peer_s * 1000),
        ):
            option = getattr(socket, name, None)  # not every system has each of them
            if option is not None:
                made.setsockopt(socket.IPPROTO_TCP, option, value)
        return made


class _Body(aiohttp.payload.Payload):
    """A request body in memory, written in pieces under its known length."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, content_type="application/octet-stream")
        self._body = body
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for start in range(0, len(self._body), _PIECE):
            await writer.write(self._body[start : start + _PIECE])


class _Exchange:
    """One request with its answer."""

    __slots__ = ("_reply", "_request", "_response", "_session")

    def __init__(self, session: aiohttp.ClientSession, request: HttpRequest) -> None:
        self._session = session
        self._request = request
        self._response: aiohttp.ClientResponse | None = None
        self._reply: _HttpReply | None = None

    async def __aenter__(self) -> Reply:
        request = self._request
        try:
            async with asyncio.timeout(request.timeout_s):
                self._response = await self._session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers=request.headers,
                    data=_payload(request.body),
                    allow_redirects=False,
                )
        except TimeoutError as error:
            raise TransportError(f"no answer from {request.url} in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TransportError(f"no answer from {request.url}: {_why(error)}") from error
        self._reply = _HttpReply(self._response, request)
        return self._reply

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        response, reply = self._response, self._reply
        if response is None or reply is None:
            return
        reply.watch.close()
        if response.content.at_eof():
            response.release()
        else:
            response.close()


def _why(error: Exception) -> str:
    """The reason in few words."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and not isinstance(error, aiohttp.ClientSSLError) and cause.errno:
        return os.strerror(cause.errno) if cause.errno > 0 else cause.strerror or str(cause)
    if isinstance(error, aiohttp.ClientResponseError):
        return "what it says is no HTTP"
    return str(error) or type(error).__name__


def _payload(body: bytes) -> bytes | _Body | None:
    if not body:
        return None
    return body if len(body) <= _PIECE else _Body(body)


class _HttpReply:
    """An answer of aiohttp as the port shows it."""

    __slots__ = ("_headers", "_request", "_response", "status", "watch")

    def __init__(self, response: aiohttp.ClientResponse, request: HttpRequest) -> None:
        self._response = response
        self._request = request
        self._headers: dict[str, str] | None = None
        self.status = response.status
        self.watch = _SilenceWatch(response.content, request)

    @property
    def headers(self) -> Mapping[str, str]:
        if self._headers is None:
            self._headers = {name.lower(): value for name, value in self._response.headers.items()}
        return self._headers

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.parts()])

    def parts(self) -> AsyncIterator[bytes]:
        return _Parts(self._response.content, self.watch, self._request.url)


class _Parts:
    """The pieces of a body: an iterator rather than a generator, because a generator left half-way needs a farewell."""

    __slots__ = ("_content", "_url", "_watch")

    def __init__(self, content: aiohttp.StreamReader, watch: "_SilenceWatch", url: str) -> None:
        self._content = content
        self._watch = watch
        self._url = url

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._watch.begin()
        try:
            piece = await self._content.readany()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TransportError(f"the answer of {self._url} broke off: {error}") from error
        finally:
            self._watch.end()
        if not piece:
            raise StopAsyncIteration
        return piece


class _SilenceWatch:
    """Breaks off a read that waits too long: one timer for a whole body, however many pieces it has."""

    __slots__ = ("_content", "_handle", "_limit_s", "_loop", "_url", "_waits_since")

    def __init__(self, content: aiohttp.StreamReader, request: HttpRequest) -> None:
        self._content = content
        self._url = request.url
        self._loop = asyncio.get_running_loop()
        self._waits_since: float | None = None
        self._limit_s = request.silence_s or 0.0
        self._handle = self._loop.call_later(self._limit_s, self._look) if self._limit_s else None

    def begin(self) -> None:
        if self._handle is not None:
            self._waits_since = self._loop.time()

    def end(self) -> None:
        self._waits_since = None

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        since = now if self._waits_since is None else self._waits_since
        if now - since >= self._limit_s:
            self._content.set_exception(TransportError(f"{self._url} was silent for {self._limit_s:g} s"))
        else:
            self._handle = self._loop.call_at(since + self._limit_s, self._look)
