"""The port to HTTP from the calling side.

The worker, the command line, the engine's caller know only this port: in production aiohttp stands behind it
(client/http.py), in the simulation a network that loses, delays or repeats.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec


class TransportError(Exception):
    """No answer, or not the whole of it, arrived: refused, reset, timed out, cut."""


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `timeout_s` bounds the wait for the answer's head; `silence_s` each wait for more of its body."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes = b""
    timeout_s: float | None = None
    silence_s: float | None = None


class Reply(Protocol):
    """An answer whose head has arrived."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        ...

    async def read(self) -> bytes:
        """The whole body. Raises `TransportError` when it breaks off."""
        ...

    def parts(self) -> AsyncIterator[bytes]:
        """The body piece by piece, as it arrives. Raises `TransportError` when it breaks off."""
        ...


class Transport(Protocol):
    """Makes calls. Leaving the context before the end of the body closes the connection: the peer sees it."""

    def open(self, request: HttpRequest) -> AbstractAsyncContextManager[Reply]:
        """Raises `TransportError` on entering when no head arrives."""
        ...
