"""Where a relay puts what an engine answers: in the worker, an attempt's entry of the outbox."""

import base64
from typing import Protocol

import msgspec

from inferpool.core.errors import Code
from inferpool.core.failpoints import reach
from inferpool.core.task import Usage
from inferpool.wire.sessions import Failed, Result, Started
from inferpool.worker.entry import Entry
from inferpool.worker.outbox import Outbox


class EngineAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer of an engine, whatever its status; of a stream the assembled body."""

    status: int
    content_type: str
    body: bytes
    retry_after_s: float | None = None
    usage: Usage | None = None


class Sink(Protocol):
    """Takes one answer piece by piece; exactly one of `answer` or `fail` is its end."""

    def start(self, status: int, content_type: str) -> None:
        """A stream began with this 2xx."""
        ...

    def chunk(self, data: str) -> None:
        """One payload of the stream."""
        ...

    @property
    def full(self) -> bool:
        """Whether the relay is to wait in `room` before it reads on."""
        ...

    async def room(self) -> None: ...

    def answer(self, answer: EngineAnswer) -> None: ...

    def fail(self, code: Code, message: str) -> None:
        """No answer came, or not the whole of it."""
        ...


class EntrySink:
    """Puts an attempt's answer into the outbox."""

    __slots__ = ("_entry", "_outbox")

    def __init__(self, outbox: Outbox, entry: Entry) -> None:
        self._outbox = outbox
        self._entry = entry

    def start(self, status: int, content_type: str) -> None:
        entry = self._entry
        event = Started(task_id=entry.task_id, attempt=entry.attempt, status=status, content_type=content_type)
        self._outbox.start(entry, event)

    def chunk(self, data: str) -> None:
        if not self._entry.made:
            reach("worker.before_first_chunk")
        self._outbox.chunk(self._entry, data)
        reach("worker.after_chunk")

    @property
    def full(self) -> bool:
        return self._outbox.pressure.full

    async def room(self) -> None:
        await self._outbox.pressure.room()

    def answer(self, answer: EngineAnswer) -> None:
        entry = self._entry
        if not entry.made:
            reach("worker.before_first_chunk")
        text, encoded = _as_text(answer.body)
        result = Result(
            task_id=entry.task_id,
            attempt=entry.attempt,
            last_seq=entry.made,
            status=answer.status,
            content_type=answer.content_type,
            retry_after_s=answer.retry_after_s,
            body=text,
            body_base64=encoded,
            usage=answer.usage,
        )
        self._outbox.end(entry, result)

    def fail(self, code: Code, message: str) -> None:
        entry = self._entry
        self._outbox.end(entry, Failed(task_id=entry.task_id, attempt=entry.attempt, code=code, message=message))


def _as_text(body: bytes) -> tuple[str | None, str | None]:
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(body).decode()
