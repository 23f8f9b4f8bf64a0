"""Ends the wait of a response whose client went away.

While a handler waits, nothing else would notice: the HTTP server drops writes to a closed connection without a word. So one
small task listens beside the handler, which it interrupts by cancelling it.
"""

import asyncio
from types import TracebackType
from typing import Self

from inferpool.server.request import ClientGone, Request


class Presence:
    """A context in which the handler is interrupted when its client is gone; it then leaves with `ClientGone`."""

    __slots__ = ("_handler", "_listener", "_request", "client_gone")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._handler: asyncio.Task[object] | None = None
        self._listener: asyncio.Task[None] | None = None
        self.client_gone = False

    def __enter__(self) -> Self:
        self._handler = asyncio.current_task()
        self._listener = asyncio.get_running_loop().create_task(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        handler, self._handler = self._handler, None
        if self._listener is not None:
            self._listener.cancel()
        if kind is asyncio.CancelledError and handler is not None and self.client_gone:
            handler.uncancel()
            raise ClientGone from None

    async def _listen(self) -> None:
        await self._request.gone()
        if self._handler is not None:
            self.client_gone = True
            self._handler.cancel()
