"""A follower of a task: what it saw, what is new to it."""

import asyncio
from typing import Protocol

from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.stream import Place
from inferpool.dispatch.alarm import SHORT_S, Alarm
from inferpool.dispatch.callers import Callers
from inferpool.dispatch.strand import Chunks, Ended, Head, Outcome, Restarted, Seen, Strand


class Following(Protocol):
    """What a watcher needs of the feed."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def closing(self) -> Outcome | None:
        """Set when the server ends."""
        ...

    @property
    def callers(self) -> Callers: ...

    @property
    def alarm(self) -> Alarm: ...

    def detach(self, strand: Strand, *, by_server: bool) -> None: ...


class Watcher:
    """One follower of a task, at its own place in the stream."""

    def __init__(self, feed: Following, strand: Strand, seen: Place | None = None, *, blocking: bool = False) -> None:
        self._feed = feed
        self._blocking = blocking
        self._strand = strand
        self._attempt = seen.attempt if seen else 0
        self._seq = seen.seq if seen else 0
        self._ended = False
        self._open = True

    @property
    def task_id(self) -> TaskId:
        """The task that is followed."""
        return self._strand.task_id

    @property
    def outcome(self) -> Outcome | None:
        """How the task ended (or that the server ends before it); None while it lives."""
        return self._strand.outcome or self._feed.closing

    @property
    def head(self) -> Head | None:
        """The engine's status, once it is known."""
        return self._strand.head

    def take(self) -> list[Seen]:
        """All that is new since the last call; after `Ended`, nothing more ever comes."""
        news: list[Seen] = []
        strand = self._strand
        if self._ended:
            return news
        if strand.attempt not in {0, self._attempt} and self._wants(strand):
            if self._seq:
                news.append(Restarted(strand.attempt))
            self._attempt, self._seq = strand.attempt, 0
        if strand.attempt == self._attempt and len(strand.chunks) > self._seq:
            news.append(Chunks(self._attempt, self._seq + 1, strand.chunks[self._seq :]))
            self._seq = len(strand.chunks)
        outcome = self.outcome
        if outcome is not None:
            self._ended = True
            news.append(Ended(outcome))
        return news

    def _wants(self, strand: Strand) -> bool:
        """A task that ended without an answer voids nothing that was seen: the end says it all."""
        return strand.outcome is None or strand.outcome.status is Status.COMPLETED

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Until there may be something new: True; False when `timeout_s` passed before."""
        return self._has_news() or await self._next(timeout_s)

    def _forget(self, future: asyncio.Future[None]) -> bool:
        """Whether the future was still waiting."""
        waiting = self._strand.waiting
        if future in waiting:
            waiting.remove(future)
            return True
        return False

    def _has_news(self) -> bool:
        strand = self._strand
        if self._ended:
            return False
        newer = strand.attempt not in {0, self._attempt} and (self._seq > 0 or bool(strand.chunks))
        more = strand.attempt == self._attempt and len(strand.chunks) > self._seq
        return self.outcome is not None or newer or more

    async def end(self, timeout_s: float | None = None) -> Outcome | None:
        """The task's end; None when `timeout_s` passed before."""
        loop = self._feed.loop
        until = None if timeout_s is None else loop.time() + timeout_s
        while (outcome := self.outcome) is None:
            left = None if until is None else until - loop.time()
            if left is not None and left <= 0:
                return None
            await self._next(left)
        return outcome

    async def _next(self, timeout_s: float | None) -> bool:
        # Once a chunk: `asyncio.wait` with its set of tasks would cost half of what a relayed chunk may.
        loop = self._feed.loop
        future = loop.create_future()
        self._strand.waiting.append(future)
        timer = None
        if timeout_s is not None and timeout_s <= SHORT_S:
            self._feed.alarm.set(future, timeout_s)
        elif timeout_s is not None:
            timer = loop.call_later(timeout_s, _give_up, future)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()
            woken = not self._forget(future)
        return woken

    def close(self, *, by_server: bool = False) -> None:
        """Stop following. `by_server`: the server ended the response itself, which cancels nothing."""
        if self._open:
            self._open = False
            if self._blocking:
                self._feed.callers.unblock()
            self._feed.detach(self._strand, by_server=by_server)


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
