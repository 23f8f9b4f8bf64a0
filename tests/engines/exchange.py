"""One HTTP exchange of the scripted engine, which notices at once that its client has left."""

import asyncio
from typing import Final

from starlette.types import Receive, Scope, Send

_YIELD_EVERY: Final = 16
"""Chunks sent in one go before other exchanges get their turn."""


class ClientGone(Exception):
    """The client closed the connection before the answer's end."""


class Exchange:
    """Reads the request, then sends an answer, raising `ClientGone` wherever the client has left meanwhile."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.path: str = scope["path"]
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._receive = receive
        self._send = send
        self._gone: asyncio.Task[None] | None = None
        self._sent = 0

    async def body(self) -> bytes:
        """The whole request; from then on the client's leaving is watched for."""
        parts: list[bytes] = []
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        self._gone = asyncio.create_task(self._until_gone())
        return b"".join(parts)

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, content_type: str, **headers: str) -> None:
        """Send the head; a body of unknown length follows."""
        named = [(b"content-type", content_type.encode())]
        named += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": named})

    async def send(self, part: bytes, *, last: bool = False) -> None:
        """Send a part of the body."""
        self._sent += 1
        if self._sent % _YIELD_EVERY == 0:
            await self.pause(0)
        if self._gone is not None and self._gone.done():
            raise ClientGone
        await self._send({"type": "http.response.body", "body": part, "more_body": not last})

    async def pause(self, seconds: float) -> None:
        """Let time pass, unless the client leaves."""
        if self._gone is not None:
            await asyncio.wait({self._gone}, timeout=seconds)
            if self._gone.done():
                raise ClientGone

    async def until(self, event: asyncio.Event) -> None:
        """Wait for the event, unless the client leaves."""
        waiting = asyncio.create_task(event.wait())
        left = {self._gone} if self._gone is not None else set()
        try:
            await asyncio.wait({waiting, *left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not event.is_set():
            raise ClientGone

    def close(self) -> None:
        """Stop watching for the client."""
        if self._gone is not None:
            self._gone.cancel()
