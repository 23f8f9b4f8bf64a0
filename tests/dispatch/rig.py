"""Dispatch over a real SQLite store with scripted workers that speak through the session desk."""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.lowlevel

from inferpool.core.ids import ServerId, SessionId
from inferpool.core.llm import LlmStatus
from inferpool.core.session import LlmOffer
from inferpool.dispatch.calls import Call
from inferpool.dispatch.channel import Channel
from inferpool.dispatch.credentials import Credentials
from inferpool.dispatch.options import DispatchOptions
from inferpool.dispatch.service import Dispatch, Parts
from inferpool.wire.sessions import (
    CancelRun,
    Chunk,
    Event,
    Frame,
    Holding,
    Infer,
    RefusedEvent,
    RegisterReply,
    RegisterRequest,
    Result,
    Started,
    WorkerInfo,
    decode_frame,
)
from tests.store.stores import SettableClock, opened_sqlite

SECRET = "a secret of a test session"
PATIENCE_S = 10.0
"""For what a test waits for: it comes at once, or it never comes."""
OPTIONS = DispatchOptions(grace_s=0.0, poll_s=3600.0, beat_s=3600.0, sweep_s=3600.0)
"""Loops stand still: tests tick them by hand. A grace is over as soon as it began."""


class SilentLog:
    """Keeps the names of what was logged."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def info(self, event: str, **_: str | float | bool | None) -> None:
        self.events.append(event)

    warning = error = info


class Rig:
    """One server's dispatch with everything that a test moves by hand."""

    def __init__(self, dispatch: Dispatch, clock: SettableClock, log: SilentLog) -> None:
        self.dispatch = dispatch
        self.clock = clock
        self.log = log


class IdMaker:
    """UUIDv7-like strings that sort by the order of their making."""

    def __init__(self, start: int) -> None:
        self._numbers = itertools.count(start)

    def __call__(self) -> str:
        return f"01900000-0000-7000-8000-{next(self._numbers):012x}"


@asynccontextmanager
async def opened_dispatch(
    path: Path, options: DispatchOptions = OPTIONS, clock: SettableClock | None = None, start: int = 1
) -> AsyncIterator[Rig]:
    """A dispatch on the database at `path`, closed at the end; `start` keeps the ids of two servers apart."""
    clock = clock or SettableClock()
    log = SilentLog()
    new_id = IdMaker(start)
    async with opened_sqlite(path, clock) as pair:
        parts = Parts(
            clock=clock,
            new_id=new_id,
            new_secret=lambda: "a made secret of the server",
            jitter=random.Random(1),
            log=log,
        )
        dispatch = Dispatch(pair.store, pair.reader, options, parts, ServerId(new_id()))
        await dispatch.open()
        await turn()  # the loops have ticked once and stand still now
        try:
            yield Rig(dispatch, clock, log)
        finally:
            await dispatch.close()


def offer(name: str = "small@box", *, slots: int = 1, pool: str = "small", engine: str = "e") -> LlmOffer:
    """An llm of the pool `small`."""
    return LlmOffer(name=name, model="smollm2", engine=engine, slots=slots, pool_name=pool, status=LlmStatus.ACTIVE)


def call(text: str = "hello", *, model: str = "small", streaming: bool = False) -> Call:
    """A chat call of the owner `local`; `msgspec.structs.replace` changes it."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], "stream": streaming})
    return Call(
        owner="local", endpoint="chat/completions", body=body.encode(), model=model, streaming=streaming, watched=True
    )


async def turn(times: int = 30) -> None:
    """Let everything that is ready run."""
    for _ in range(times):
        await anyio.lowlevel.checkpoint()


class ScriptedWorker:
    """A worker in the test's own hand: it says what the test wants it to say."""

    def __init__(self, rig: Rig, number: int = 1) -> None:
        self._desk = rig.dispatch.desk
        self.session_id = SessionId(f"01800000-0000-7000-8000-{number:012x}")
        self.epoch = 0
        self.channel: Channel | None = None
        self.frames: list[Frame] = []
        self._pump: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()

    @property
    def who(self) -> Credentials:
        """What it shows on every session route."""
        return Credentials(self.session_id, SECRET, self.epoch)

    async def register(self, *llms: LlmOffer, holding: list[Holding] | None = None) -> RegisterReply:
        """Come in, or come back, under the next epoch."""
        self.epoch += 1
        request = RegisterRequest(
            session_id=self.session_id,
            epoch=self.epoch,
            worker=WorkerInfo(name="box"),
            llms=list(llms) or [offer()],
            holding=holding or [],
        )
        return await self._desk.register(request, SECRET, "local")

    async def bind(self) -> None:
        """Open the channel, read what comes."""
        self.channel = await self._desk.bind(self.who)
        self._pump = asyncio.get_running_loop().create_task(self._read(self.channel))

    async def join(self, *llms: LlmOffer) -> "ScriptedWorker":
        """Register, then bind; returns when the fill is through."""
        await self.register(*llms)
        await self.bind()
        await turn()
        return self

    async def join_with(self, slots: int) -> "ScriptedWorker":
        """Join with an engine of so many slots."""
        return await self.join(offer(slots=slots))

    async def join_elsewhere(self, name: str = "small@other") -> "ScriptedWorker":
        """Join with another llm of the same pool."""
        return await self.join(offer(name))

    async def _read(self, channel: Channel) -> None:
        async for part in channel.frames():
            for text in part.decode().split("\n\n")[:-1]:
                event, _, data = text.partition("\n")
                frame = decode_frame(event.removeprefix("event: "), data.removeprefix("data: "))
                if frame is not None:
                    self.frames.append(frame)
            self._arrived.set()

    async def _next(self, kind: type[Frame]) -> Frame:
        async with asyncio.timeout(PATIENCE_S):
            while not any(isinstance(frame, kind) for frame in self.frames):
                self._arrived.clear()
                await self._arrived.wait()
        found = next(frame for frame in self.frames if isinstance(frame, kind))
        self.frames.remove(found)
        return found

    async def infer(self) -> Infer:
        """The next attempt that it is given."""
        frame = await self._next(Infer)
        assert isinstance(frame, Infer)
        return frame

    async def cancel(self) -> CancelRun:
        """The next cancel that it is told."""
        frame = await self._next(CancelRun)
        assert isinstance(frame, CancelRun)
        return frame

    def break_channel(self) -> None:
        """The connection is gone, as the server sees it."""
        if self._pump is not None and self.channel is not None:
            self._pump.cancel()
            self.channel.lost()
            self.channel = None

    async def say(self, *events: Event) -> list[RefusedEvent]:
        """Send one batch."""
        return await self._desk.take(self.who, list(events))


def started(frame: Infer) -> Started:
    """The engine answered 200."""
    return Started(task_id=frame.task_id, attempt=frame.attempt, status=200, content_type="text/event-stream")


def chunk(frame: Infer, seq: int, data: str | None = None) -> Chunk:
    """A payload of the attempt."""
    return Chunk(task_id=frame.task_id, attempt=frame.attempt, seq=seq, data=data or f"payload {seq}")


def result(frame: Infer, body: str = '{"answer": 42}', *, status: int = 200, last_seq: int = 0) -> Result:
    """The attempt's answer."""
    return Result(
        task_id=frame.task_id,
        attempt=frame.attempt,
        last_seq=last_seq,
        status=status,
        content_type="application/json",
        body=body,
    )
