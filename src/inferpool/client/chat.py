"""Chat completions as the command line asks for them: streamed, through the OpenAI-compatible API."""

from collections.abc import AsyncGenerator, Callable
from typing import Final

import msgspec

from inferpool.client.caller import JSON, ServerCaller
from inferpool.client.refusals import refusal
from inferpool.core.errors import ProtocolBroken
from inferpool.wire.sse import SseParser

_PATH: Final = "/v1/chat/completions"
_POSITION: Final = "inferpool-queue-position"
_SILENCE_S: Final = 60.0
"""A stream carries a comment every 15 s; four missing ones mean that nobody is there."""


class _Fault(msgspec.Struct, frozen=True):
    error: object = None


_decode_fault: Final = msgspec.json.Decoder(_Fault).decode


class ChatClient:
    """Asks one server."""

    def __init__(self, caller: ServerCaller) -> None:
        self._caller = caller

    async def stream(self, body: bytes, queued: Callable[[str], None]) -> AsyncGenerator[str, None]:
        """The chunks of the answer to this request; `queued` hears the task's place in line, if it has to wait.

        Closing the iterator closes the connection, so that the server cancels the task. Raises the error that the
        server tells, before the stream or within, `TransportError`, `ProtocolBroken` when it ends without its end mark.
        """
        request = self._caller.request("POST", _PATH, JSON, body, timeout_s=_SILENCE_S, silence_s=_SILENCE_S)
        async with self._caller.open(request) as reply:
            if _POSITION in reply.headers:
                queued(reply.headers[_POSITION])
            parser = SseParser()
            async for piece in reply.parts():
                for event in parser.feed(piece):
                    if event.data == "[DONE]":
                        return
                    _check(event.data)
                    yield event.data
        raise ProtocolBroken("the answer broke off without its end mark")


def _check(payload: str) -> None:
    """Raises the error that this payload is."""
    try:
        fault = _decode_fault(payload).error
    except msgspec.MsgspecError as error:
        raise ProtocolBroken(f"the server streamed what is no JSON: {error}") from error
    if fault is not None:
        raise refusal(500, payload.encode())
