"""Small questions to an engine beside its inference, answered by a decoded shape or by nothing."""

import asyncio
from typing import Final, TypeVar

import msgspec

from inferpool.client.transport import HttpRequest, Transport, TransportError

T = TypeVar("T")

_JSON: Final = {"content-type": "application/json"}


class Answer(msgspec.Struct, frozen=True):
    """The whole answer to one question."""

    status: int
    body: bytes


class Probe:
    """Asks one engine. Every question may take `timeout_s`; redirects are answers, never followed."""

    def __init__(self, transport: Transport, root: str, headers: dict[str, str], timeout_s: float) -> None:
        self._transport = transport
        self._root = root
        self._headers = headers
        self._timeout_s = timeout_s

    async def get(self, path: str) -> Answer:
        """Raises `TransportError` when no whole answer comes."""
        return await self._ask(HttpRequest(method="GET", url=self._root + path, headers=self._headers))

    async def post(self, path: str, body: bytes) -> Answer:
        """Raises `TransportError` when no whole answer comes."""
        headers = {**self._headers, **_JSON}
        return await self._ask(HttpRequest(method="POST", url=self._root + path, headers=headers, body=body))

    async def learn(self, path: str, shape: type[T], body: bytes | None = None) -> T | None:
        """What a 200 of this shape tells; None for anything else.

        LM Studio answers 200 with an error on routes that it does not have (its bug tracker, issue 1323): a status
        alone proves nothing.
        """
        try:
            answer = await (self.get(path) if body is None else self.post(path, body))
            return msgspec.json.decode(answer.body, type=shape) if answer.status == 200 else None
        except (TransportError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    async def _ask(self, request: HttpRequest) -> Answer:
        bounded = msgspec.structs.replace(request, timeout_s=self._timeout_s, silence_s=self._timeout_s)
        try:
            async with asyncio.timeout(2 * self._timeout_s), self._transport.open(bounded) as reply:
                return Answer(reply.status, await reply.read())
        except TimeoutError as error:
            raise TransportError(f"no answer from {request.url} in time") from error
