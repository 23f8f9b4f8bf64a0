"""A cable to the server that a journey can cut under a worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_PIECE: Final = 64 * 1024


class Cable:
    """Carries TCP connections to the server, or to a socket's path. While it is cut, none stands and none can be made."""

    def __init__(self, target_url: str) -> None:
        self._target = target_url.removeprefix("http://")
        self._whole = True
        self._answers = True
        self._loud = asyncio.Event()
        self._loud.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._carriers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def plug_in(self) -> str:
        """Listen; the address to give the worker."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Reset every connection, refuse new ones."""
        self._whole = False
        for end in self._ends:
            end.transport.abort()

    def hush(self) -> None:
        """Carry nothing any more, tell nobody: what is under way stays under way."""
        self._loud.clear()

    def lose_answers(self) -> None:
        """From now on nothing comes back of what goes there, until it is mended."""
        self._answers = False

    def mend(self) -> None:
        """Carry new connections again, go on with those that stand."""
        self._whole = self._answers = True
        self._loud.set()

    async def unplug(self) -> None:
        """Cut it for good."""
        self.cut()
        self._loud.set()
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._carriers, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrier = asyncio.ensure_future(self._carry(reader, writer))
        self._carriers.add(carrier)
        carrier.add_done_callback(self._carriers.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await self._reach()
        except OSError:  # the server is away
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._ends |= ends
        pumps = (self._pump(reader, far_writer), self._pump(far_reader, writer, back=True))
        ways = [asyncio.ensure_future(pump) for pump in pumps]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ends -= ends
            for end in ends:
                end.close()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.startswith("/"):
            return await asyncio.open_unix_connection(self._target)
        host, _, port = self._target.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool = False) -> None:
        while piece := await reader.read(_PIECE):
            await self._loud.wait()
            if self._answers or not back:
                writer.write(piece)
                await writer.drain()


@asynccontextmanager
async def cable_to(target_url: str) -> AsyncIterator[tuple[Cable, str]]:
    """A cable to the server with the address of its near end."""
    cable = Cable(target_url)
    try:
        yield cable, await cable.plug_in()
    finally:
        await cable.unplug()
