"""Wires to PostgreSQL that fail on demand, beside a pooler that lends connections by the transaction."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TypeAlias

SOCKET = ".s.PGSQL.5432"
READY, IDLE, FAREWELL = b"Z", b"I", b"X"
"""What a server says last of each answer, the state of one outside a transaction, a client's last word (protocol 3.0)."""

Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serves: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]

PATIENCE_S = 60.0


class Loss(Enum):
    """What the wire loses of the next commit."""

    REQUEST = "request"
    ANSWER = "answer"


class Wire:
    """Hands all bytes on, but for what it is told to lose."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self.loses: Loss | None = None
        self.stays = False
        """Whether the next commits are lost likewise."""
        self.cuts = False
        """Whether no more connections are taken once a commit was lost."""
        self.silent = False
        """Whether nothing that is said arrives any more, though nobody hangs up."""
        self.lost = 0
        self.refused = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends."""
        if self.cuts and self.lost:
            self.refused += 1
            writer.close()
            return
        server_reader, server_writer = await asyncio.open_unix_connection(self._upstream / SOCKET)
        back = asyncio.ensure_future(_pump(server_reader, writer))
        try:
            while data := await reader.read(65536):
                if b"COMMIT\0" in data and self.loses is not None:
                    await self._lose(data, (server_reader, server_writer), back)
                    break
                if not self.silent:
                    server_writer.write(data)
        finally:
            back.cancel()
            server_writer.close()
            writer.close()

    async def _lose(self, data: bytes, server: Stream, back: "asyncio.Future[None]") -> None:
        loss = self.loses
        if not self.stays:
            self.loses = None
        self.lost += 1
        back.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await back
        if loss is Loss.ANSWER:
            server[1].write(data)
            await server[0].read(65536)


class TransactionPooler:
    """Lends the connection that was given back last, a transaction at a time."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._free: list[Stream] = []
        self._all: list[Stream] = []
        self._greeting = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        hello = await _packet(reader)
        if not self._greeting:
            self._free.append(await self._connect(hello))
        writer.write(self._greeting)
        asks = asyncio.ensure_future(reader.read(65536))
        try:
            while (data := await asks) and not data.startswith(FAREWELL):
                backend = self._free.pop() if self._free else await self._connect(hello)
                backend[1].write(data)
                asks = asyncio.ensure_future(reader.read(65536))
                answers = asyncio.ensure_future(_until_idle(backend[0], writer))
                while not answers.done():
                    await asyncio.wait((asks, answers), return_when=asyncio.FIRST_COMPLETED)
                    if asks.done() and not answers.done():
                        backend[1].write(asks.result())
                        asks = asyncio.ensure_future(reader.read(65536))
                self._free.append(backend)
        finally:
            writer.close()

    async def _connect(self, hello: bytes) -> Stream:
        backend = await asyncio.open_unix_connection(self._upstream / SOCKET)
        self._all.append(backend)
        backend[1].write(hello)
        greeting = b""
        while not greeting.endswith(READY + (5).to_bytes(4, "big") + IDLE):
            greeting += await _message(backend[0])
        self._greeting = greeting
        return backend

    def close(self) -> None:
        """Let go of the server."""
        for _, writer in self._all:
            writer.close()


@contextlib.asynccontextmanager
async def listening(serve: Serves) -> AsyncIterator[str]:
    """The folder of a socket on which connections are served like this; at the end each must have ended."""
    serving: set[asyncio.Task[None]] = set()
    with tempfile.TemporaryDirectory(prefix="inferpool-wire-") as folder:
        async with await asyncio.start_unix_server(partial(_served, serve, serving), Path(folder) / SOCKET):
            yield folder
            if serving:
                await asyncio.wait(serving, timeout=PATIENCE_S)


async def _served(
    serve: Serves, serving: set[asyncio.Task[None]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    task = asyncio.ensure_future(serve(reader, writer))
    serving.add(task)
    await task


async def _until_idle(server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    """Hand answers back until the server is outside a transaction."""
    message = b""
    while message[:1] != READY or message[5:6] != IDLE:
        message = await _message(server)
        client.write(message)


async def _packet(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(int.from_bytes(size, "big") - 4)


async def _message(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(1) + await _packet(reader)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
