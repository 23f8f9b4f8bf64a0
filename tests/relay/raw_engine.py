"""An engine that writes the very bytes it is told, in the very pieces: the worker's socket gets nothing else."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

MODEL: Final = "m"
MODELS: Final = b'{"object":"list","data":[{"id":"m","object":"model"}]}'
_TURNS: Final = 2
"""Of the event loop, after which the reader of a socket in the same loop has read what was written to it."""


def whole(status: bytes, body: bytes) -> bytes:
    """An answer in one piece."""
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


class RawEngine:
    """Answers each inference call with `segments`; then closes the connection if they say so, or break off."""

    def __init__(self) -> None:
        self.segments: Sequence[bytes] = ()
        self.breaks = False
        self.url = ""
        self.bodies: list[bytes] = []
        """What it was asked."""
        self._open: set[asyncio.Task[None]] = set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the worker has what it wants
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        body = await reader.readexactly(int(length or 0))
        if head.startswith(b"GET "):
            writer.write(whole(b"200 OK", MODELS) if b"/v1/models " in head else whole(b"404 Not Found", b""))
            return True
        if body == b"{}":  # a look whether there is such a route
            writer.write(whole(b"404 Not Found", b""))
            return True
        self.bodies.append(body)
        segments, breaks = self.segments, self.breaks  # the next call may begin before this answer's last bytes are out
        for segment in segments:
            writer.write(segment)
            await writer.drain()
            await _turns()
        return not breaks and b"Connection: close" not in b"".join(segments).partition(b"\r\n\r\n")[0]

    async def close(self) -> None:
        """End what is still open."""
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)


async def _turns() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(_TURNS):
        turned = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned


@asynccontextmanager
async def listening() -> AsyncIterator[RawEngine]:
    """The engine on a port of its own."""
    engine = RawEngine()
    server = await asyncio.start_server(engine._connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    engine.url = f"http://{host}:{port}"
    try:
        yield engine
    finally:
        server.close()
        await engine.close()
