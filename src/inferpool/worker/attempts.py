"""The attempts that run here: one asyncio task each, from its `infer` frame to its end in the outbox."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from inferpool.client.transport import TransportError
from inferpool.core.errors import Code, InferpoolError
from inferpool.wire.sessions import CancelRun, Frame, Infer, Returned, Stopped, Wake, Woken
from inferpool.worker.entry import Entry, Key, Terminal
from inferpool.worker.log import Log
from inferpool.worker.outbox import Outbox
from inferpool.worker.relay import Errand, Relay
from inferpool.worker.roster import Post, Roster
from inferpool.worker.sink import EntrySink

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]
"""Gets a big request body by its path on the server."""


class _Running:
    """A running attempt; `ends_as` is the event that a stop from outside ends it with."""

    __slots__ = ("ends_as", "task")

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.ends_as: Terminal | None = None


class Attempts:
    """Runs what the channel pushes, stops what it cancels."""

    def __init__(self, outbox: Outbox, roster: Roster, relay: Relay, fetch: Fetch, log: Log) -> None:
        self._outbox = outbox
        self._roster = roster
        self._relay = relay
        self._fetch = fetch
        self._log = log
        self._running: dict[Key, _Running] = {}
        self._leaving = False
        self.idle = asyncio.Event()
        """Set while nothing runs."""
        self.idle.set()

    def hear(self, frame: Frame) -> None:
        """Do what a frame of the channel asks for."""
        if isinstance(frame, Infer):
            self._begin(frame)
        elif isinstance(frame, CancelRun):
            self._cancel(frame)
        elif isinstance(frame, Wake):
            self._outbox.say(Woken(wake_id=frame.wake_id, ok=False, message="this worker wakes no engine"))

    def stop(self, task_id: str, attempt: int) -> None:
        """Close the engine's request of an attempt; `stopped` is said once it is closed."""
        self._end_as(Stopped(task_id=task_id, attempt=attempt))

    def refuse_new(self) -> None:
        """From now on give back whatever is pushed: the worker leaves."""
        self._leaving = True

    def give_back(self) -> None:
        """Close every request that still runs, give its attempt back."""
        for task_id, attempt in list(self._running):
            self._end_as(Returned(task_id=task_id, attempt=attempt))

    async def close(self) -> None:
        """Close every request that still runs without a word: the process ends."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, infer: Infer) -> None:
        if (infer.task_id, infer.attempt) in self._outbox.entries:
            return
        entry = self._outbox.open(infer.task_id, infer.attempt)
        if self._leaving:
            self._outbox.end(entry, Returned(task_id=entry.task_id, attempt=entry.attempt))
            return
        task = asyncio.create_task(self._run(infer, entry))
        self._running[entry.key] = _Running(task)
        self.idle.clear()
        task.add_done_callback(partial(self._done, entry))

    def _cancel(self, cancel: CancelRun) -> None:
        key = (cancel.task_id, cancel.attempt)
        if key not in self._outbox.entries:
            # Nothing is known of it, so nothing runs: the server need not wait for its slot.
            self._outbox.end(self._outbox.open(*key), Stopped(task_id=cancel.task_id, attempt=cancel.attempt))
        self.stop(*key)

    def _end_as(self, terminal: Terminal) -> None:
        running = self._running.get((terminal.task_id, terminal.attempt))
        if running is not None and running.ends_as is None:
            running.ends_as = terminal
            running.task.cancel()

    def _done(self, entry: Entry, task: asyncio.Task[None]) -> None:
        running = self._running.pop(entry.key)
        if running.ends_as is not None:
            self._outbox.end(entry, running.ends_as)
        if not task.cancelled():
            task.result()
        if not self._running:
            self.idle.set()

    async def _run(self, infer: Infer, entry: Entry) -> None:
        sink = EntrySink(self._outbox, entry)
        post = self._roster.post(infer.llm_name)
        if post is None:
            self._outbox.end(entry, Returned(task_id=entry.task_id, attempt=entry.attempt))
            return
        try:
            async with asyncio.timeout(infer.run_s):
                await self._relay.run(_errand(infer, post, await self._body(infer)), sink)
        except TimeoutError:
            sink.fail(Code.ENGINE_TIMEOUT, "the attempt was stopped at its run limit")
        except TransportError as error:
            # Looked at first: a server that hears of the failure must not push the next attempt to an engine that is away.
            await post.lookout.look()
            self._log.info("the engine gave no whole answer", task_id=entry.task_id, reason=str(error))
            sink.fail(Code.ENGINE_ERROR, str(error))
        except InferpoolError as error:
            sink.fail(Code.ENGINE_ERROR, error.message)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one answer must not keep its slot for ever
            self._log.error("an attempt failed in the worker itself", task_id=entry.task_id, error=repr(error))
            sink.fail(Code.INTERNAL, f"the worker failed: {type(error).__name__}")

    async def _body(self, infer: Infer) -> bytes:
        if infer.request is not None:
            return infer.request.encode()
        if infer.request_base64 is not None:
            return base64.b64decode(infer.request_base64)
        return await self._fetch(infer.request_url or "")


def _errand(infer: Infer, post: Post, body: bytes) -> Errand:
    return Errand(
        engine=post.lookout.engine,
        model=post.offer.model,
        endpoint=infer.endpoint,
        body=body,
        content_type=infer.content_type,
        headers=infer.headers,
        streaming=infer.streaming,
    )
