"""An HTTP transport in memory: a test sees each request at once, decides each answer, waits by `Signal.until`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from inferpool.client.transport import HttpRequest, Reply, TransportError

PATIENCE_S = 10.0
"""For what a test waits for; only a broken test comes near it."""


class Signal:
    """Wakes whoever waits for a condition each time something happened."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Event] = []

    def tell(self) -> None:
        for event in self._waiting:
            event.set()

    async def until(self, check: Callable[[], object]) -> None:
        event = asyncio.Event()
        self._waiting.append(event)
        async with asyncio.timeout(PATIENCE_S):
            while not check():
                event.clear()
                await event.wait()
        self._waiting.remove(event)


class MemoryReply:
    """An answer made of pieces."""

    def __init__(self, status: int, headers: Mapping[str, str], pieces: AsyncIterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self._pieces = pieces

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self._pieces])

    def parts(self) -> AsyncIterator[bytes]:
        return self._pieces


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def whole(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> MemoryReply:
    return MemoryReply(status, {"content-type": "application/json", **(headers or {})}, pieces_of(body))


def stream(pieces: AsyncIterator[bytes], content_type: str = "text/event-stream") -> MemoryReply:
    return MemoryReply(200, {"content-type": content_type}, pieces)


Handler = Callable[[HttpRequest], Awaitable[MemoryReply]]


class MemoryTransport:
    """Answers every request by one handler; knows how many exchanges are open."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.signal = Signal()
        self.open_now = 0

    def open(self, request: HttpRequest) -> AbstractAsyncContextManager[Reply]:
        return _Exchange(self, request)

    async def answer(self, request: HttpRequest) -> MemoryReply:
        return await self._handler(request)


class _Exchange:
    def __init__(self, transport: MemoryTransport, request: HttpRequest) -> None:
        self._transport = transport
        self._request = request

    async def __aenter__(self) -> Reply:
        self._transport.open_now += 1
        self._transport.signal.tell()
        try:
            async with asyncio.timeout(self._request.timeout_s):
                return await self._transport.answer(self._request)
        except TimeoutError as error:
            self._close()
            raise TransportError("no answer in time") from error
        except BaseException:
            self._close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._transport.open_now -= 1
        self._transport.signal.tell()
