"""A running server with tasks in every state, made by a worker that is played by hand."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from inferpool.client.caller import ServerCaller
from inferpool.client.http import AiohttpTransport
from inferpool.client.native import NativeClient
from inferpool.client.server import ServerClient, SessionKey
from inferpool.compose import new_id
from inferpool.core.llm import LlmStatus
from inferpool.core.session import LlmOffer
from inferpool.wire.sessions import (
    Chunk,
    Event,
    Frame,
    Infer,
    RegisterRequest,
    Result,
    Started,
    WorkerInfo,
    encode_events,
)

SECRET = "the secret of the worker that is played by hand"
WORDS = ("Grey ", "is the ", "sea.")
SETTINGS = 'slot_release_s = 0.1\ngrace_s = 3600\nsilence_s = 3600\nstale_after_s = 3600\nlog_format = "json"\n'
"""A session whose worker is a test is never lost."""


class Site(NamedTuple):
    """A server with what is in its store."""

    url: str
    database: Path
    session_id: str
    tasks: dict[str, str]
    """The ids of the tasks by their states: `streamed`, `error`, `cancelled`, `running`, `pending`."""


@contextmanager
def running_server(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A server process on a free port, its store in that folder; with its address. It is ended afterwards."""
    (folder / "inferpool.toml").write_text(SETTINGS)
    command = [sys.executable, "-m", "inferpool", "serve", "--port", "0", "--database-url", "store.db"]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "ready at http" in line, (folder / "server.log").read_text()
            yield process, line.split()[-1]
        finally:
            process.terminate()


def chunk_of(words: str) -> str:
    """A payload of a streamed chat completion."""
    return msgspec.json.encode({"choices": [{"index": 0, "delta": {"content": words}}]}).decode()


def body_of(words: str) -> str:
    """A whole chat completion."""
    return msgspec.json.encode({"choices": [{"index": 0, "message": {"role": "assistant", "content": words}}]}).decode()


class PlayedWorker:
    """One session with one slot, whose every word a test says."""

    def __init__(self, client: ServerClient, native: NativeClient, key: SessionKey) -> None:
        self._client = client
        self._native = native
        self._key = key

    async def register(self) -> None:
        """Publish `tiny@desk` in the pool `tiny`."""
        offer = LlmOffer(name="tiny@desk", model="tiny", pool_name="tiny", engine="e", slots=1, status=LlmStatus.ACTIVE)
        info = WorkerInfo(name="desk", version="9.9", labels={"gpu": "none"})
        request = RegisterRequest(session_id=self._key.session_id, epoch=self._key.epoch, worker=info, llms=[offer])
        await self._client.register(request, self._key.secret)

    async def say(self, *events: Event) -> None:
        """One batch, all of it taken."""
        assert (await self._client.events(self._key, encode_events(list(events)))).refused == []

    async def enqueue(self, *, streaming: bool = False) -> str:
        """Queue a task for the pool."""
        request = {"model": "tiny", "stream": streaming, "messages": [{"role": "user", "content": "What is grey?"}]}
        body = {"request": request, "metadata": {"book": "seven"}}
        return (await self._native.enqueue(msgspec.json.encode(body))).id

    async def play(self) -> dict[str, str]:
        """A task of each state."""
        async with self._client.channel(self._key) as frames:
            streamed = await self.enqueue(streaming=True)
            await self._answer(await next_infer(frames))
            failed = await self.enqueue()
            infer = await next_infer(frames)
            refusal = '{"error": {"message": "too many words", "code": "too_long"}}'
            await self.say(result(infer, 400, refusal))
            cancelled = await self.enqueue()
            await next_infer(frames)
            await self._native.cancel(cancelled)
            running = await self.enqueue(streaming=True)
            infer = await next_infer(frames)
            await self.say(started(infer), chunk(infer, 1, WORDS[0]))
            pending = await self.enqueue()
        return {"streamed": streamed, "error": failed, "cancelled": cancelled, "running": running, "pending": pending}

    async def _answer(self, infer: Infer) -> None:
        chunks = [chunk(infer, seq, words) for seq, words in enumerate(WORDS, 1)]
        await self.say(started(infer), *chunks, result(infer, 200, body_of("".join(WORDS)), len(WORDS)))


async def next_infer(frames: AsyncIterator[Frame]) -> Infer:
    """The next task of the channel; cancels are answered by whoever plays."""
    async for frame in frames:
        if isinstance(frame, Infer):
            return frame
    raise AssertionError("the channel ended")


def started(infer: Infer) -> Started:
    """The engine answers."""
    return Started(task_id=infer.task_id, attempt=infer.attempt, status=200, content_type="text/event-stream")


def chunk(infer: Infer, seq: int, words: str) -> Chunk:
    """One piece of the answer."""
    return Chunk(task_id=infer.task_id, attempt=infer.attempt, seq=seq, data=chunk_of(words))


def result(infer: Infer, status: int, body: str, last_seq: int = 0) -> Result:
    return Result(
        task_id=infer.task_id,
        attempt=infer.attempt,
        last_seq=last_seq,
        status=status,
        content_type="application/json",
        body=body,
    )


async def play(url: str, session_id: str) -> dict[str, str]:
    """Fill the store of the server at `url`."""
    transport = AiohttpTransport()
    caller = ServerCaller(transport, [url])
    key = SessionKey(session_id=session_id, secret=SECRET, epoch=1)
    worker = PlayedWorker(ServerClient(caller), NativeClient(caller), key)
    try:
        await worker.register()
        return await asyncio.wait_for(worker.play(), 60)
    finally:
        await transport.close()


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """A server with a task in every state, its store in that folder."""
    session_id = new_id()
    with running_server(folder) as (_, url):
        yield Site(url, folder / "store.db", session_id, asyncio.run(play(url, session_id)))
