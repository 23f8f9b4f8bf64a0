"""Where watchers follow tasks: the chunks of running attempts, the ends, in memory only.

The row is the truth; a strand is what this server knows of one task right now. A watcher subscribes first, then the
row is read once, so that no end can fall between the two. A watcher keeps no queue of its own: it reads the strand's
list from its own place on, so a slow one costs nothing but the list.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from inferpool.core.errors import Code, NotFound
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import TERMINAL, Status
from inferpool.core.stream import Place, unpack_chunks
from inferpool.core.task import Answer, Fault, StoredTask
from inferpool.dispatch.alarm import Alarm
from inferpool.dispatch.callers import Callers
from inferpool.dispatch.strand import Memory, Outcome, Strand
from inferpool.dispatch.watcher import Watcher
from inferpool.store.protocol import StoreReader


async def _recall(reader: StoreReader, strand: Strand) -> None:
    """Fill a strand from the store: what it already heard meanwhile wins. Raises `NotFound`."""
    stored = await reader.task(strand.task_id)
    if stored is None:
        if strand.outcome is None:
            raise NotFound(f"there is no task {strand.task_id}")
        return
    if stored.row.status in TERMINAL:
        await _recall_end(reader, strand, stored)
    else:
        strand.begin(stored.row.attempt)


async def _recall_end(reader: StoreReader, strand: Strand, stored: StoredTask) -> None:
    packed = await reader.chunks(strand.task_id)
    if strand.outcome is not None:
        return
    strand.clear()
    strand.attempt = stored.row.attempt
    if packed is not None:
        strand.attempt, blob = packed
        for payload in unpack_chunks(blob):
            strand.add(payload)
    strand.outcome = outcome_of(stored)
    strand.wake()


def _nowhere(_: Strand) -> None:
    """There is no other server."""


class Feed:
    """All strands of this server."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        self.loop = asyncio.get_running_loop()
        """Known once: asking for it costs a system call each time (until Python 3.12)."""
        self.alarm = Alarm(self.loop)
        self._strands: dict[TaskId, Strand] = {}
        self._memory = Memory()
        self.callers = Callers()
        self.closing: Outcome | None = None
        self.sought: Callable[[Strand], None] = _nowhere
        """Called with a task that a watcher follows here while another server knows more of it, perhaps."""

    @property
    def size(self) -> int:
        """Bytes of chunks in memory."""
        return self._memory.size

    def close(self) -> None:
        """The server ends: every watcher is told so, every task goes on."""
        self.closing = _CLOSING
        for strand in self._strands.values():
            strand.wake()

    def strand(self, task_id: TaskId) -> Strand:
        """The task's strand, made if there is none."""
        strand = self._strands.get(task_id)
        if strand is None:
            strand = self._strands[task_id] = Strand(task_id, self._memory)
        return strand

    def stray(self, task_id: TaskId) -> Strand:
        """A strand that nobody can find, for an attempt of which nothing more is taken."""
        strand = Strand(task_id, self._memory)
        strand.forgotten = True
        return strand

    def begin(self, task_id: TaskId, attempt: int) -> Strand:
        """The strand of an attempt whose worker speaks to this server."""
        strand = self.strand(task_id)
        strand.begin(attempt)
        strand.here = True
        return strand

    def find(self, task_id: TaskId) -> Strand | None:
        """The task's strand, if anything is remembered of it."""
        return self._strands.get(task_id)

    def followed_elsewhere(self) -> list[Strand]:
        """The tasks with a row that are followed here although they wait, or run by way of another server."""
        strands = self._strands.values()
        return [one for one in strands if one.watchers and one.stored and not one.here and one.outcome is None]

    def follow(
        self, task_id: TaskId, alone: Callable[[TaskId], None] | None = None, *, streamed: bool = False
    ) -> Watcher:
        """Follow a task that this call is about to enqueue; `alone` is called when the last watcher leaves before its end."""
        strand = self.strand(task_id)
        strand.stored = False
        strand.alone = alone
        strand.streamed |= streamed
        strand.watchers += 1
        self.callers.block()
        return Watcher(self, strand, blocking=True)

    def stored(self, task_id: TaskId) -> None:
        """The row of a followed task is there: whoever finds it gone from now on knows that it was deleted."""
        strand = self._strands.get(task_id)
        if strand is not None:
            strand.stored = True

    async def watch(
        self, task_id: TaskId, seen: Place | None = None, *, blocking: bool = False, streamed: bool = False
    ) -> Watcher:
        """Follow a task from where `seen` stopped. Raises `NotFound` when there is no such row.

        `blocking`: a caller waits for the answer, so that a shutdown waits for it too. `streamed`: it wants the chunks.
        """
        strand = self.strand(task_id)
        strand.watchers += 1
        strand.streamed |= streamed
        if blocking:
            self.callers.block()
        watcher = Watcher(self, strand, seen, blocking=blocking)
        newest = 1 if seen is None else max(1, seen.attempt)
        if strand.attempt < newest and strand.outcome is None:
            try:
                await _recall(self._reader, strand)
            except BaseException:  # whatever ends the reading, nobody watches then
                watcher.close(by_server=True)
                raise
        if strand.outcome is None and not strand.here:
            self.sought(strand)
        return watcher

    async def settle(self, task_id: TaskId, told: Place | None = None) -> None:
        """Tell the watchers, if there are any, of an end that a rule wrote into the row, or another server.

        `told`: where the stream ended, if that is known. Chunks that did not get here are read from the store first: a
        stream must not end short of its last ones, for nobody who ever follows this strand.
        """
        strand = self._strands.get(task_id)
        if strand is None or strand.outcome is not None:
            return
        stored = await self._reader.task(task_id)
        if stored is None:
            self._end(strand, Outcome(status=Status.CANCELLED, attempt=strand.attempt, fault=_PURGED))
        elif stored.row.status in TERMINAL:
            streamed = stored.row.streaming and stored.row.status is Status.COMPLETED
            if streamed and told != Place(strand.attempt, len(strand.chunks)):
                await _recall_end(self._reader, strand, stored)
            self._end(strand, outcome_of(stored))

    def relayed(self, task_id: TaskId, attempt: int, first_seq: int, payloads: list[str]) -> bool:
        """Take chunks that another server heard. False: there is a gap before them, what is missing must be asked for."""
        strand = self._strands.get(task_id)
        if strand is None or strand.outcome is not None or attempt < strand.attempt:
            return True
        if attempt > strand.attempt and not strand.watchers:
            self._forget(strand)  # an attempt of this server kept it, which is over
            return True
        strand.begin(attempt)
        have = len(strand.chunks)
        if first_seq > have + 1:
            return False
        for payload in payloads[have + 1 - first_seq :]:
            strand.add(payload)
        strand.wake()
        return True

    def end(self, task_id: TaskId, outcome: Outcome) -> None:
        """The task ended: wake who waits, forget it when nobody does."""
        strand = self._strands.get(task_id)
        if strand is not None:
            self._end(strand, outcome)

    def _end(self, strand: Strand, outcome: Outcome) -> None:
        if strand.outcome is None:
            strand.outcome = outcome
            strand.wake()
        if not strand.watchers:
            self._forget(strand)

    def lost(self, task_id: TaskId) -> None:
        """The attempt was taken away and the task waits again: without watchers nothing needs to be remembered."""
        strand = self._strands.get(task_id)
        if strand is None:
            return
        strand.here = False
        if not strand.watchers:
            self._forget(strand)

    def over(self, strand: Strand, attempt: int) -> None:
        """The attempt is none of this server's any more, by what another one did: a newer one that runs here goes on."""
        if strand.attempt == attempt and self._strands.get(strand.task_id) is strand:
            self.lost(strand.task_id)

    def part(self, task_id: TaskId) -> None:
        """A replay or a purge: who watched the old end keeps it, who comes now asks the row anew.

        Who came before this was known here, but after the row said so, waits for the new end already.
        """
        strand = self._strands.get(task_id)
        if strand is None or strand.outcome is None:
            return
        del self._strands[task_id]
        if not strand.watchers:
            self._forget(strand)

    def detach(self, strand: Strand, *, by_server: bool) -> None:
        """One watcher less; a caller's task that nobody waits for any more is cancelled."""
        strand.watchers -= 1
        if by_server:
            strand.alone = None
        if strand.watchers:
            return
        if strand.outcome is not None or not strand.here:
            self._forget(strand)
        if strand.outcome is None and strand.alone is not None:
            strand.alone(strand.task_id)

    def _forget(self, strand: Strand) -> None:
        strand.clear()
        strand.forgotten = True
        if self._strands.get(strand.task_id) is strand:
            del self._strands[strand.task_id]


_CLOSING: Final = Outcome(
    status=Status.RUNNING,
    attempt=0,
    fault=Fault(Code.SHUTTING_DOWN, "the server is shutting down; the task goes on, ask for it by its id"),
)
_PURGED: Final = Fault(Code.CANCELLED, "the task was deleted")


def outcome_of(stored: StoredTask) -> Outcome:
    """The end that a terminal row tells."""
    row = stored.row
    answer = None
    if stored.response is not None and row.response_status is not None:
        answer = Answer(row.response_status, row.response_content_type or "application/json", stored.response)
    fault = None
    if row.status is Status.CANCELLED:
        fault = Fault(Code.CANCELLED, row.error_message or "the task was cancelled")
    elif row.error_code is not None:
        fault = Fault(Code(row.error_code), row.error_message or "")
    return Outcome(status=row.status, attempt=row.attempt, answer=answer, fault=fault)
