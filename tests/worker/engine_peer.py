"""An engine in memory: lists models, answers each request as a test scripts it."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import msgspec

from inferpool.client.transport import HttpRequest, TransportError
from inferpool.wire.sessions import Infer
from tests.worker.memory import Handler, MemoryReply, MemoryTransport, stream, whole


class EnginePeer:
    """An engine: lists models, answers each POST by the next scripted handler."""

    def __init__(self) -> None:
        self.transport = MemoryTransport(self._handle)
        self.signal = self.transport.signal
        self.up = True
        self.models: list[str] | None = ["tiny"]
        self.models_status = 200
        self.slots: int | None = None
        self.speaks = True
        self.requests: list[HttpRequest] = []
        self.answers: list[Handler] = []
        self.looks = 0

    def then(self, handler: Handler) -> None:
        """Answer the next request like this."""
        self.answers.append(handler)

    async def _handle(self, request: HttpRequest) -> MemoryReply:
        if request.url.endswith("/v1/models"):
            self.looks += 1
        if not self.up:
            raise TransportError("connection refused")
        if request.url.endswith("/v1/models"):
            return whole(self.models_status, self._listed())
        if request.url.endswith("/props"):
            return whole(404, b"") if self.slots is None else whole(200, b'{"total_slots": %d}' % self.slots)
        if request.method == "GET":
            return whole(404, b"")
        if "/v1/audio/" in request.url and request.body == b"{}":
            return whole(400 if self.speaks else 404, b"")
        self.requests.append(request)
        self.signal.tell()
        handler = self.answers.pop(0) if self.answers else Answer(b'{"object":"ok"}')
        return await handler(request)

    def _listed(self) -> bytes:
        return b"[]" if self.models is None else msgspec.json.encode({"data": [{"id": name} for name in self.models]})


class Answer:
    """Answers at once with this body."""

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._body = body
        self._status = status
        self._headers = headers

    async def __call__(self, request: HttpRequest) -> MemoryReply:
        return whole(self._status, self._body, self._headers)


class Breaks:
    """Raises this instead of an answer."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __call__(self, request: HttpRequest) -> MemoryReply:
        raise self._error


class Script:
    """A streamed answer whose pieces a test gives one by one."""

    def __init__(self, content_type: str = "text/event-stream") -> None:
        self._content_type = content_type
        self._pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.asked = asyncio.Event()
        self.closed = asyncio.Event()

    def say(self, *payloads: str) -> None:
        for payload in payloads:
            self._pieces.put_nowait(f"data: {payload}\n\n".encode())

    def end(self) -> None:
        self._pieces.put_nowait(None)

    def break_off(self) -> None:
        self._pieces.put_nowait(TransportError("reset by peer"))

    async def __call__(self, request: HttpRequest) -> MemoryReply:
        self.asked.set()
        return stream(self._given(), self._content_type)

    async def _given(self) -> AsyncIterator[bytes]:
        try:
            while (piece := await self._pieces.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed.set()


def infer(task_id: str = "t1", attempt: int = 1, **fields: object) -> Infer:
    """An `infer` frame with the usual fields."""
    usual: dict[str, object] = {
        "frame": "infer",
        "task_id": task_id,
        "attempt": attempt,
        "llm_name": "tiny@box",
        "endpoint": "chat/completions",
        "content_type": "application/json",
        "request": '{"model":"tiny","messages":[]}',
        "streaming": False,
        "run_s": 60.0,
    }
    return msgspec.convert({**usual, **fields}, Infer)


def delta(text: str) -> str:
    """A chunk of a streamed chat completion."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return msgspec.json.encode({"object": "chat.completion.chunk", "choices": [choice]}).decode()


FINISH = '{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = '{"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}'
