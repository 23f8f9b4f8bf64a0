"""A server of raw bytes on a loopback socket: it answers exactly what a test writes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Loopback:
    """Runs one talk a connection; remembers what was asked."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.connections = 0
        self.closed_by_peer = asyncio.Event()
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._talk(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[Loopback]:
    server = Loopback(talk)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """The request line, the headers (names in lower case), the body by its length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return head[0], headers, body


def head(status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def piece(text: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(text), text)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request of the connection with its body."""
    while True:
        try:
            _, _, body = await read_request(reader)
        except asyncio.IncompleteReadError:
            return
        writer.write(head(content_length=str(len(body)), X_Shout="Yes") + body)
        await writer.drain()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await reader.read()


async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Promise more than comes."""
    await read_request(reader)
    writer.write(head(content_length="100") + b"only this")


async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Redirect."""
    await read_request(reader)
    writer.write(head("302 Found", location="http://elsewhere.invalid/", content_length="0"))
    await reader.read()


class Paused:
    """Sends a first piece, then waits for the test or for the client's farewell before it sends the last one."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head(transfer_encoding="chunked") + piece(b"one"))
        waits = [asyncio.ensure_future(self.go_on.wait()), asyncio.ensure_future(self._farewell(reader))]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        writer.write(piece(b"two") + b"0\r\n\r\n")
        for wait in waits:
            wait.cancel()

    async def _farewell(self, reader: asyncio.StreamReader) -> None:
        await reader.read()
        self.gone.set()
