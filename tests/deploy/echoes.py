"""Servers that answer who they are with what they were asked, so that a test sees where a proxy sends a request, in which words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec

_encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(dict[str, str]).decode


class Echo:
    """One of them. It says of itself that it is ready until told otherwise."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = True
        self.address = ""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Take no connection any more, end those that stand."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                await self._answer(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the proxy closed an unused connection
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        await reader.readexactly(int(headers.get("content-length", "0")))
        target = first.split(" ")[1]
        status = "200 OK" if self.ready or target != "/readyz" else "503 Service Unavailable"
        body = _encode({**headers, "line": first, "server": self.name})
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()


@asynccontextmanager
async def three_echoes() -> AsyncIterator[list[Echo]]:
    """Three that listen."""
    echoes = [Echo(name) for name in ("one", "two", "three")]
    async with AsyncExitStack() as opened:
        for echo in echoes:
            await echo.open()
            opened.push_async_callback(echo.close)
        yield echoes
