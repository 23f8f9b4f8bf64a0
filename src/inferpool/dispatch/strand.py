"""What this server knows of one task right now: its newest attempt's chunks, then its end."""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.task import Answer, Fault


class Head(msgspec.Struct, frozen=True):
    """The engine's status line, known as soon as it answered."""

    status: int
    content_type: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a task ended: with the engine's answer, with a fault, or (at the last try) with both."""

    status: Status
    attempt: int
    answer: Answer | None = None
    fault: Fault | None = None


class Chunks(msgspec.Struct, frozen=True):
    """Payloads in order, the first of which has number `first_seq` of the attempt."""

    attempt: int
    first_seq: int
    payloads: list[str]


class Restarted(msgspec.Struct, frozen=True):
    """What the watcher saw is void: this newer attempt begins at 1."""

    attempt: int


class Ended(msgspec.Struct, frozen=True):
    """The last thing that a watcher sees."""

    outcome: Outcome


Seen: TypeAlias = Chunks | Restarted | Ended


class Memory:
    """Bytes of chunks that all strands together keep."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class Strand:
    """What this server knows of one task: its newest attempt with the chunks of it, then its end."""

    __slots__ = (
        "_memory",
        "alone",
        "attempt",
        "chunks",
        "forgotten",
        "head",
        "here",
        "outcome",
        "size",
        "stored",
        "streamed",
        "task_id",
        "waiting",
        "watchers",
    )

    def __init__(self, task_id: TaskId, memory: Memory) -> None:
        self.task_id = task_id
        self.attempt = 0
        self.chunks: list[str] = []
        self.size = 0
        """Bytes of its chunks (characters, to be exact: counting them is free)."""
        self.head: Head | None = None
        self.outcome: Outcome | None = None
        self.watchers = 0
        self.here = False
        """A session of this server runs the attempt, or speaks of it here: its chunks come in by themselves."""
        self.stored = True
        """Its row is there, as far as is known: that of a call which is just being taken is still on its way to the store."""
        self.streamed = False
        """A watcher wants the chunks as they come, not the end alone."""
        self.alone: Callable[[TaskId], None] | None = None
        """Called when the last watcher leaves before the end: a blocked caller's task is then cancelled."""
        self.waiting: list[asyncio.Future[None]] = []
        self.forgotten = False
        """Nobody can find it any more: what a repeated batch still adds is dropped with its slot, so it is not counted."""
        self._memory = memory

    def begin(self, attempt: int) -> None:
        """A newer attempt was claimed, at whichever server: what the older one said is void."""
        if attempt > self.attempt:
            self.clear()
            self.here = False
            self.attempt = attempt
            self.head = None
            self.wake()

    def add(self, payload: str) -> None:
        """The attempt's next chunk."""
        size = len(payload)
        self.chunks.append(payload)
        self.size += size
        if not self.forgotten:
            self._memory.size += size

    def clear(self) -> None:
        """Forget the chunks. Watchers that hold the list go on reading it."""
        if not self.forgotten:
            self._memory.size -= self.size
        self.size = 0
        self.chunks = []

    def wake(self) -> None:
        """Tell the watchers that there is something new."""
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)
