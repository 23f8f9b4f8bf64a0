"""Which other servers follow which tasks, up to which chunk each was told."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from inferpool.core.ids import ServerId, TaskId
from inferpool.dispatch.notes import Relayed
from inferpool.dispatch.strand import Strand

_TASKS: Final = 100_000
"""Tasks that are remembered; beyond it the one that was asked for longest ago is forgotten, to be asked for again."""

_LOOKED_AT: Final = 10_000
"""Tasks that one look at the rows asks for."""


class Follower(msgspec.Struct):
    """What another server was told of a task."""

    attempt: int = 0
    seq: int = 0
    """The highest chunk of the attempt that it was told."""
    had: int = -1
    """The chunks that it had when it last asked."""
    head: bool = False
    """It knows the engine's status line."""


class Interest:
    """The tasks that are followed elsewhere."""

    def __init__(self) -> None:
        self._tasks: dict[TaskId, dict[ServerId, Follower]] = {}

    def __contains__(self, task_id: TaskId) -> bool:
        return task_id in self._tasks

    def add(self, task_id: TaskId, server_id: ServerId) -> Follower:
        """The server follows the task from now on."""
        followers = self._tasks.pop(task_id, {})
        self._tasks[task_id] = followers
        if len(self._tasks) > _TASKS:
            del self._tasks[next(iter(self._tasks))]
        return followers.setdefault(server_id, Follower())

    def asked(self, task_id: TaskId, server_id: ServerId, attempt: int, have: int) -> None:
        """The server follows it, with so many chunks: what is under way to it still is left at peace.

        Who has no more than when it last asked has lost something: it is told again.
        """
        follower = self.add(task_id, server_id)
        if follower.attempt != attempt or follower.had == have or have > follower.seq:
            follower.attempt, follower.seq, follower.head = attempt, have, False
        follower.had = have

    def drop(self, task_id: TaskId, server_id: ServerId) -> None:
        """The server follows it no more."""
        followers = self._tasks.get(task_id)
        if followers is not None:
            followers.pop(server_id, None)
            if not followers:
                del self._tasks[task_id]

    def forget(self, task_id: TaskId) -> bool:
        """The task has its end; whether anybody followed it."""
        return self._tasks.pop(task_id, None) is not None

    def oldest(self) -> list[TaskId]:
        """Those that were asked for longest ago: some may have ended where nobody knew who follows them."""
        return list(islice(self._tasks, _LOOKED_AT))

    def news(self, strand: Strand) -> Iterator[tuple[ServerId, Relayed]]:
        """What each follower was not told yet; it counts as told then."""
        for server_id, follower in self._tasks.get(strand.task_id, {}).items():
            if follower.attempt != strand.attempt:
                follower.attempt, follower.seq, follower.had, follower.head = strand.attempt, 0, -1, False
            payloads = strand.chunks[follower.seq :]
            head = strand.head
            if payloads or (head is not None and not follower.head):
                yield (
                    server_id,
                    Relayed(
                        task_id=strand.task_id,
                        attempt=strand.attempt,
                        first_seq=follower.seq + 1,
                        payloads=payloads,
                        status=0 if head is None else head.status,
                        content_type="" if head is None else head.content_type,
                    ),
                )
                follower.seq += len(payloads)
                follower.head = head is not None
