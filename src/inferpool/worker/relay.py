"""Passes on what an engine answers to one task, piece by piece, unchanged.

Spec section 5 (status and bytes pass through): of the request only the top-level `model` is spliced and, in streamed chat
and completions, `stream_options.include_usage`; of the answer only the extra usage chunk is taken out when the caller did
not ask for it.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from inferpool.client.transport import Reply, TransportError
from inferpool.core.assembly import assembler_for, is_usage_chunk, usage_of
from inferpool.core.clock import Clock
from inferpool.core.errors import Code
from inferpool.core.retry import parse_retry_after
from inferpool.wire.forms import is_form, splice_field
from inferpool.wire.splice import ask_for_usage, asked_for_usage, splice_model
from inferpool.wire.sse import SseParser
from inferpool.worker.engine import Engine, EngineCall
from inferpool.worker.sink import EngineAnswer, Sink

_COUNTED: Final = frozenset({"chat/completions", "completions"})
"""Endpoints whose streams tell their usage only when asked."""
_EVENT_STREAM: Final = "text/event-stream"
_JSON: Final = "application/json"
_DONE: Final = "[DONE]"
_FAREWELL_S: Final = 1.0
"""For the engine to end its body after the stream's end mark; then the connection is closed instead of kept."""


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask which engine."""

    engine: Engine
    model: str
    """The engine's own id, spliced into the body."""
    endpoint: str
    body: bytes
    content_type: str
    headers: dict[str, str]
    streaming: bool


class Relay:
    """Runs errands.

    Raises `TransportError` when the engine gave no answer or broke it off, `ProtocolBroken` when it streamed what is no
    stream of its endpoint, `InvalidRequest` for a body that cannot be spliced; all else goes to the sink.
    """

    def __init__(self, silence_s: float, clock: Clock) -> None:
        """`silence_s` bounds each pause within a begun stream."""
        self._silence_s = silence_s
        self._clock = clock

    async def run(self, errand: Errand, sink: Sink) -> None:
        """Ask the engine; the sink hears the answer. Cancelling closes the engine's request."""
        hides_usage = errand.streaming and errand.endpoint in _COUNTED and not asked_for_usage(errand.body)
        async with errand.engine.ask(self._call(errand, hides_usage)) as reply:
            if errand.streaming and 200 <= reply.status < 300 and _content_type(reply).startswith(_EVENT_STREAM):
                await _Stream(errand, sink, hides_usage).run(reply)
            else:
                await self._whole(reply, sink)

    def _call(self, errand: Errand, hides_usage: bool) -> EngineCall:
        return EngineCall(
            endpoint=errand.endpoint,
            body=_body(errand, hides_usage),
            content_type=errand.content_type,
            headers=errand.headers,
            # An answer in one piece may be computed after its head was sent: only the run limit bounds it.
            silence_s=self._silence_s if errand.streaming else None,
        )

    async def _whole(self, reply: Reply, sink: Sink) -> None:
        body = await reply.read()
        succeeded = 200 <= reply.status < 300
        retry_after = None if succeeded else reply.headers.get("retry-after")
        sink.answer(
            EngineAnswer(
                status=reply.status,
                content_type=_content_type(reply),
                body=body,
                retry_after_s=parse_retry_after(retry_after, self._clock.now_us()) if retry_after else None,
                usage=usage_of(body) if succeeded else None,
            )
        )


class _Stream:
    """One streamed answer: passes its payloads on, assembles the final body, judges its end."""

    def __init__(self, errand: Errand, sink: Sink, hides_usage: bool) -> None:
        self._assembler = assembler_for(errand.endpoint)
        self._sink = sink
        self._hides_usage = hides_usage
        self._closed = False

    async def run(self, reply: Reply) -> None:
        self._sink.start(reply.status, _content_type(reply))
        parts = reply.parts()
        try:
            await self._read(parts)
        except TransportError:
            # What comes after the end mark may break off: the answer is whole.
            if not self._assembler.ended:
                raise
        self._judge(reply.status)
        if self._closed:
            await _read_out(parts)

    async def _read(self, parts: AsyncIterator[bytes]) -> None:
        """Read to `[DONE]`, to an error in the stream, else to the end of the body."""
        parser = SseParser()
        async for part in parts:
            for event in parser.feed(part):
                if event.data == _DONE:
                    self._assembler.done()
                    self._closed = True
                    return
                self._take(event.data)
                if self._assembler.error is not None:
                    return
            if self._sink.full:
                await self._sink.room()

    def _take(self, payload: str) -> None:
        if not payload:
            return
        self._assembler.add(payload)
        if self._assembler.error is None and not (self._hides_usage and is_usage_chunk(payload)):
            self._sink.chunk(payload)

    def _judge(self, status: int) -> None:
        assembler = self._assembler
        if assembler.error is not None:
            self._sink.fail(Code.ENGINE_ERROR, f"the engine broke off its stream: {assembler.error}")
        elif not assembler.ended:
            self._sink.fail(Code.ENGINE_ERROR, "the engine's stream ended without its end mark")
        else:
            body = assembler.body()
            self._sink.answer(EngineAnswer(status=status, content_type=_JSON, body=body, usage=assembler.usage))


def _body(errand: Errand, hides_usage: bool) -> bytes:
    """The caller's body with the engine's own model id."""
    if is_form(errand.content_type.encode()):
        return splice_field(errand.body, errand.content_type, "model", errand.model)
    body = splice_model(errand.body, errand.model)
    return ask_for_usage(body) if hides_usage else body


async def _read_out(parts: AsyncIterator[bytes]) -> None:
    """Let the body end by itself, so that the connection can be used again."""
    try:
        async with asyncio.timeout(_FAREWELL_S):
            async for _ in parts:
                pass
    except (TimeoutError, TransportError):
        return


def _content_type(reply: Reply) -> str:
    return reply.headers.get("content-type", "application/octet-stream")
