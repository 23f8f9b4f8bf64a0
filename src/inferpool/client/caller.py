"""Calls a server's routes over any transport, turning to its next address when one does not answer."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from inferpool.client.refusals import refusal
from inferpool.client.transport import HttpRequest, Reply, Transport, TransportError
from inferpool.core.errors import Unavailable

JSON: dict[str, str] = {"content-type": "application/json"}


class ServerCaller:
    """The addresses of one server, or of several that are equal (spec section 9), with a token if there is one.

    An address that gives no answer, or a 5xx, is left for the next one; the call itself is not repeated here: only its
    caller knows whether it may be.
    """

    def __init__(self, transport: Transport, urls: Sequence[str], token: str | None = None) -> None:
        if not urls:
            raise ValueError("a server needs at least one URL")
        self._transport = transport
        self._urls = [url.rstrip("/") for url in urls]
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._at = 0

    @property
    def url(self) -> str:
        """The address that the next call goes to."""
        return self._urls[self._at]

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_s: float | None = None,
        silence_s: float | None = None,
    ) -> HttpRequest:
        """A request for a path of the server, in the words of the transport."""
        return HttpRequest(
            method=method,
            url=self.url + path,
            headers={**self._headers, **headers},
            body=body,
            timeout_s=timeout_s,
            silence_s=silence_s,
        )

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[Reply]:
        """A 2xx answer, its body still to be read.

        Raises `TransportError` when none came or when its body broke off, else the error that the answer tells.
        """
        try:
            async with self._transport.open(request) as reply:
                if not 200 <= reply.status < 300:
                    raise refusal(reply.status, await reply.read())
                yield reply
        except (TransportError, Unavailable):
            self._turn(request)
            raise

    async def call(self, request: HttpRequest) -> bytes:
        """The whole body of a 2xx answer; raises as `open` does."""
        async with self.open(request) as reply:
            return await reply.read()

    def _turn(self, request: HttpRequest) -> None:
        """Leave the address that did not answer this request; nothing if another call left it already."""
        if request.url.startswith(self.url + "/"):
            self._at = (self._at + 1) % len(self._urls)
