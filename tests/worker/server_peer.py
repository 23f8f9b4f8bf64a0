"""A server in memory: the session routes, answered as a test scripts them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, NoReturn, TypeVar

import msgspec

from inferpool.client.transport import HttpRequest, TransportError
from inferpool.core.errors import InferpoolError
from inferpool.core.ids import TaskId
from inferpool.core.llm import LlmStatus
from inferpool.core.session import HeldAttempt
from inferpool.wire.problems import problem_of
from inferpool.wire.sessions import (
    EPOCH_HEADER,
    Event,
    EventsReply,
    Frame,
    PublishedLlm,
    RefusedEvent,
    RegisterReply,
    RegisterRequest,
    Resume,
    decode_events,
    encode_frame,
)
from tests.worker.memory import MemoryReply, MemoryTransport, stream, whole


class ServerPeer:
    """The session routes of a server. What it answers is decided by `on_register` with `on_events`."""

    def __init__(self) -> None:
        self.transport = MemoryTransport(self._handle)
        self.signal = self.transport.signal
        self.up = True
        self.requests: list[HttpRequest] = []
        self.registrations: list[RegisterRequest] = []
        self.secrets: list[str] = []
        self.batches: list[bytes] = []
        self.epochs: list[int] = []
        self.leaves = 0
        self.bodies: dict[str, bytes] = {}
        self.channels = 0
        self.on_register: Callable[[RegisterRequest], RegisterReply] = accept
        self.on_events: Callable[[list[Event]], EventsReply] = taken
        self.on_channel: Callable[[HttpRequest], None] = nothing
        self.on_leave: Callable[[HttpRequest], None] = nothing
        self.on_body: Callable[[HttpRequest], None] = nothing
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()

    @property
    def events(self) -> list[Event]:
        """All that ever arrived, repeats included."""
        return [event for batch in self.batches for event in decode_events(batch)]

    def push(self, frame: Frame) -> None:
        self._frames.put_nowait(encode_frame(frame))

    def cut_channel(self) -> None:
        self._frames.put_nowait(None)

    async def _handle(self, request: HttpRequest) -> MemoryReply:
        self.requests.append(request)
        if not self.up:
            raise TransportError("connection refused")
        try:
            return self._answer(request)
        except InferpoolError as error:
            problem = problem_of(error)
            return whole(problem.status, problem.body)
        finally:
            self.signal.tell()

    def _answer(self, request: HttpRequest) -> MemoryReply:
        path = request.url.removeprefix("http://server")
        if request.method == "POST" and path == "/api/v1/sessions":
            return self._register(request)
        if path.endswith("/events"):
            self.epochs.append(int(request.headers[EPOCH_HEADER]))
            self.batches.append(request.body)
            return whole(200, msgspec.json.encode(self.on_events(decode_events(request.body))))
        if path.endswith("/channel"):
            self.on_channel(request)
            self.channels += 1
            self._frames = asyncio.Queue()
            return stream(self._channel(self._frames))
        if request.method == "DELETE":
            self.on_leave(request)
            self.leaves += 1
            return whole(200, b"{}")
        self.on_body(request)
        return whole(200, self.bodies[path])

    def _register(self, request: HttpRequest) -> MemoryReply:
        asked = msgspec.json.decode(request.body, type=RegisterRequest)
        self.registrations.append(asked)
        self.secrets.append(request.headers["Inferpool-Session-Secret"])
        return whole(200, msgspec.json.encode(self.on_register(asked)))

    async def _channel(self, frames: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        while True:
            piece = await frames.get()
            if piece is None:
                raise TransportError("cut")
            yield piece


def nothing(request: HttpRequest) -> None:
    """The route answers as usual."""


def accept(asked: RegisterRequest) -> RegisterReply:
    """Take the registration; resume all that is held from its beginning."""
    return reply_to(
        asked, resume=[Resume(task_id=held.task_id, attempt=held.attempt, have_seq=0) for held in asked.holding]
    )


def reply_to(
    asked: RegisterRequest, resume: list[Resume] | None = None, drop: list[tuple[str, int]] | None = None
) -> RegisterReply:
    return RegisterReply(
        session_id=asked.session_id or "made-by-the-server",
        epoch=asked.epoch,
        llms=[
            PublishedLlm(name=llm.name, pool=llm.pool_name or llm.name, status=LlmStatus.ACTIVE) for llm in asked.llms
        ],
        heartbeat_s=5.0,
        grace_s=0.2,
        resume=resume or [],
        drop=[HeldAttempt(TaskId(task_id), attempt) for task_id, attempt in drop or []],
    )


def taken(events: list[Event]) -> EventsReply:
    """Everything is acknowledged."""
    return EventsReply()


class Refuse:
    """Refuses every event of the named attempt, as long as it is asked."""

    def __init__(self, task_id: str, reason: str, have_seq: int | None = None) -> None:
        self._refused = RefusedEvent(task_id=task_id, attempt=1, reason=reason, have_seq=have_seq)

    def __call__(self, events: list[Event]) -> EventsReply:
        named = any(getattr(event, "task_id", None) == self._refused.task_id for event in events)
        return EventsReply([self._refused] if named else [])


Asked = TypeVar("Asked")
Told = TypeVar("Told")


class InTurn(Generic[Asked, Told]):
    """Raises its errors, one a call; after them it answers by `then`."""

    def __init__(self, then: Callable[[Asked], Told], *errors: Exception) -> None:
        self._errors = list(errors)
        self._then = then

    def __call__(self, asked: Asked) -> Told:
        if self._errors:
            raise self._errors.pop(0)
        return self._then(asked)


class Always:
    """Raises the same error at each call."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, asked: object) -> NoReturn:
        raise self._error


LOST = TransportError("the request was taken, its answer is lost")
