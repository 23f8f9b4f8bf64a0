"""A played worker that answers chats, for a test that watches them."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from inferpool.client.caller import ServerCaller
from inferpool.client.http import AiohttpTransport
from inferpool.client.native import NativeClient
from inferpool.client.server import ServerClient, SessionKey
from inferpool.compose import new_id
from inferpool.wire.sessions import CancelRun, Infer, Stopped
from tests.cli.played import SECRET, WORDS, PlayedWorker, body_of, chunk, result, running_server, started

STUCK = "stay"
"""A question that holds this word is never answered to its end."""


class Answering:
    """Answers every chat with the same words; keeps the questions, the tasks that were cancelled."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[list[dict[str, str]]] = []
        self.cancelled: list[str] = []

    async def work(self, bound: threading.Event) -> None:
        """Until it is cancelled."""
        transport = AiohttpTransport()
        caller = ServerCaller(transport, [self.url])
        key = SessionKey(session_id=new_id(), secret=SECRET, epoch=1)
        client = ServerClient(caller)
        worker = PlayedWorker(client, NativeClient(caller), key)
        try:
            await worker.register()
            async with client.channel(key) as frames:
                bound.set()
                async for frame in frames:
                    if isinstance(frame, Infer):
                        await self._answer(worker, frame)
                    elif isinstance(frame, CancelRun):
                        self.cancelled.append(frame.task_id)
                        await worker.say(Stopped(task_id=frame.task_id, attempt=frame.attempt))
        finally:
            await transport.close()

    async def _answer(self, worker: PlayedWorker, infer: Infer) -> None:
        messages = msgspec.json.decode(infer.request or b"{}")["messages"]
        self.asked.append(messages)
        await worker.say(started(infer), chunk(infer, 1, WORDS[0]))
        if STUCK not in messages[-1]["content"]:
            rest = [chunk(infer, seq, words) for seq, words in enumerate(WORDS[1:], 2)]
            await worker.say(*rest, result(infer, 200, body_of("".join(WORDS)), len(WORDS)))


@contextmanager
def answering(folder: Path) -> Iterator[Answering]:
    """A server with such a worker, in a thread of its own."""
    with running_server(folder) as (_, url):
        played, bound = Answering(url), threading.Event()
        loop = asyncio.new_event_loop()
        working = loop.create_task(played.work(bound))
        thread = threading.Thread(target=_run, args=(loop, working))
        thread.start()
        try:
            assert bound.wait(30)
            yield played
        finally:
            loop.call_soon_threadsafe(working.cancel)
            thread.join(30)


def _run(loop: asyncio.AbstractEventLoop, working: asyncio.Task[None]) -> None:
    loop.run_until_complete(asyncio.wait([working]))
    loop.close()
