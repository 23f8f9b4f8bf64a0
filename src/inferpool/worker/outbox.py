"""The ordered, acknowledged outbox from the engine's relays to the uplink.

Design section 5, spec section 4 (uplink). An entry stays here from its `infer` to the acknowledgement of its end. Relays
put events in, the uplink takes batches out, the server's answers move the cursors. All of it runs on one event loop, so
there is no lock.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from inferpool.core.errors import Code
from inferpool.wire.sessions import (
    Chunk,
    Event,
    EventsReply,
    Failed,
    Holding,
    LlmStatusChanged,
    RegisterReply,
    Started,
    Stopped,
)
from inferpool.worker.batch import Batch, Draft, Span
from inferpool.worker.entry import Entry, Key, Terminal
from inferpool.worker.options import OutboxOptions
from inferpool.worker.pressure import Pressure
from inferpool.worker.shelf import Shelf
from inferpool.worker.shelving import Shelving

_GAP = "gap"


class Outbox:
    """Every attempt whose end the server has not acknowledged, with what is to be said of it."""

    def __init__(self, options: OutboxOptions, shelf: Shelf, stop: Callable[[str, int], None]) -> None:
        """`stop` ends what runs for an attempt of which the server takes nothing more."""
        self._options = options
        self._stop = stop
        self._queue: deque[Entry] = deque()
        self._loose: list[Event] = []
        self._limit = options.batch_events
        self.entries: dict[Key, Entry] = {entry.key: entry for entry in shelf.restore()}
        self.pending = asyncio.Event()
        """Set while a batch would not be empty."""
        self.empty = asyncio.Event()
        """Set while nothing is left to say of any attempt."""
        if not self.entries:
            self.empty.set()
        self.shelving = Shelving(options, shelf)
        self.pressure = Pressure(options)

    # ---- what relays say --------------------------------------------------------------------------------------------

    def open(self, task_id: str, attempt: int) -> Entry:
        """Begin an attempt."""
        entry = Entry(task_id, attempt)
        self.entries[task_id, attempt] = entry
        self.empty.clear()
        return entry

    def start(self, entry: Entry, event: Started) -> None:
        """The engine answered with a 2xx."""
        entry.started = event
        self._enqueue(entry)

    def chunk(self, entry: Entry, data: str) -> None:
        """One more payload of the attempt's stream; ignored when the server takes no more of it."""
        if entry.refused:
            return
        entry.chunks.append(Chunk(task_id=entry.task_id, attempt=entry.attempt, seq=entry.made + 1, data=data))
        size = len(data)
        entry.waiting_bytes += size
        self.pressure.chunks += 1
        self.pressure.bytes += size
        if not entry.queued:
            self._enqueue(entry)

    def end(self, entry: Entry, terminal: Terminal) -> None:
        """The attempt is over; only the first end counts, a refused attempt only stops."""
        if entry.terminal is not None:
            return
        if entry.refused:
            terminal = Stopped(task_id=entry.task_id, attempt=entry.attempt)
        entry.terminal = terminal
        self._enqueue(entry)
        if entry.worth_keeping:
            self.shelving.add(entry)

    def say(self, event: Event) -> None:
        """An event that belongs to no attempt."""
        self._loose.append(event)
        self.pending.set()

    # ---- what the uplink does ---------------------------------------------------------------------------------------

    def next_batch(self) -> Batch:
        """Take what waits, in order, as much as fits; an empty batch is a heartbeat."""
        draft = Draft(self._options, self._limit)
        draft.add_loose(self._loose)
        left: list[Entry] = []
        while self._queue and draft.has_room:
            entry = self._queue.popleft()
            entry.queued = False
            if self._in_memory(entry):
                draft.add_entry(entry)
                if entry.unsent:
                    left.append(entry)
        for entry in left:
            self._enqueue(entry)
        batch = draft.finish()
        if not self._queue and len(self._loose) == batch.loose:
            self.pending.clear()
        return batch

    def settle(self, batch: Batch, reply: EventsReply) -> None:
        """Take the server's answer to a batch: what it does not refuse is acknowledged."""
        refused = {(refusal.task_id, refusal.attempt): refusal for refusal in reply.refused}
        del self._loose[: batch.loose]
        for span in batch.spans:
            refusal = refused.get(span.entry.key) if refused else None
            if refusal is None:
                self._accepted(span)
            elif refusal.reason == _GAP:
                self._rewind(span.entry, refusal.have_seq or 0)
            else:
                self._refused(span)
        self._limit = min(self._options.batch_events, self._limit * 2)
        if self.pressure.excess_bytes:
            self.shelving.relieve(self.entries.values(), self.pressure.excess_bytes)
        if refused or self.pressure.excess_bytes:
            self.pressure.recount(self.entries.values())
        self.pressure.relax()

    def unsend(self, batch: Batch) -> None:
        """The server cannot take this batch as it is: make smaller ones, so that one bad event fails alone."""
        self._limit = max(1, batch.events // 2)
        for span in batch.spans:
            self._rewind(span.entry, span.entry.acked)
        self.pending.set()

    def condemn(self, batch: Batch, message: str) -> None:
        """The server cannot take this one event: its attempt fails, saying why."""
        self._limit = self._options.batch_events
        del self._loose[: batch.loose]
        for entry in [span.entry for span in batch.spans]:
            if isinstance(entry.terminal, (Failed, Stopped)):
                self._forget(entry)
            else:
                self._abandon(entry, _failed(entry, message))
        self.pressure.recount(self.entries.values())

    # ---- what registering does --------------------------------------------------------------------------------------

    def holding(self) -> list[Holding]:
        """Every attempt whose end is not acknowledged, but those that only have to say that they stopped."""
        return [
            Holding(task_id=entry.task_id, attempt=entry.attempt, last_seq=entry.made, ended=entry.terminal is not None)
            for entry in self.entries.values()
            if not isinstance(entry.terminal, Stopped) and not (entry.refused and entry.terminal is None)
        ]

    def bind(self, reply: RegisterReply) -> None:
        """A registration was accepted: go on from what the server has, stop what it dropped."""
        have = {(resume.task_id, resume.attempt): resume.have_seq for resume in reply.resume}
        drop = {(dropped.task_id, dropped.attempt) for dropped in reply.drop}
        self._loose = [event for event in self._loose if not isinstance(event, LlmStatusChanged)]
        for entry in list(self.entries.values()):
            if entry.key not in drop:
                self._rewind(entry, have.get(entry.key, entry.acked))
            elif entry.terminal is not None:
                self._forget(entry)
            else:
                self._abandon(entry, None)
        self.pressure.recount(self.entries.values())

    # ---- cursors ----------------------------------------------------------------------------------------------------

    def _enqueue(self, entry: Entry) -> None:
        if not entry.queued:
            entry.queued = True
            self._queue.append(entry)
        self.pending.set()

    def _rewind(self, entry: Entry, have_seq: int) -> None:
        entry.rewind(entry.made if entry.refused else have_seq)
        if entry.unsent:
            self._enqueue(entry)

    def _in_memory(self, entry: Entry) -> bool:
        """Whether the next events of the entry can be taken; brings chunks back from disk where they are needed."""
        if self.entries.get(entry.key) is not entry:
            return False
        if entry.sent + 1 < entry.first and entry.sent < entry.made:
            if not self.shelving.fetch(entry):
                self._abandon(entry, _failed(entry, "the worker lost a part of the stream on its disk"))
            self.pressure.recount(self.entries.values())
        return True

    def _accepted(self, span: Span) -> None:
        entry = span.entry
        if span.last > entry.acked:
            self.pressure.chunks -= span.last - entry.acked
            before = entry.waiting_bytes
            entry.take(span.last)
            self.pressure.bytes -= before - entry.waiting_bytes
            self.pressure.kept_bytes += before - entry.waiting_bytes
        if span.terminal is not None and span.terminal is entry.terminal:
            self._forget(entry)

    def _refused(self, span: Span) -> None:
        entry = span.entry
        if span.terminal is not None and span.terminal is entry.terminal:
            self._forget(entry)
        elif entry.terminal is None:
            self._abandon(entry, None)
        else:
            self._abandon(entry, Stopped(task_id=entry.task_id, attempt=entry.attempt))

    def _abandon(self, entry: Entry, terminal: Terminal | None) -> None:
        """Send no more of the attempt but this end; None: the one that follows once it stopped."""
        runs = entry.terminal is None
        entry.silence()
        if terminal is not None:
            self.shelving.forget(entry)
            entry.terminal, entry.terminal_sent = terminal, False
            self._enqueue(entry)
        if runs:
            self._stop(entry.task_id, entry.attempt)

    def _forget(self, entry: Entry) -> None:
        if self.entries.pop(entry.key, None) is not None:
            self.pressure.leave(entry)
            self.shelving.forget(entry)
        if not self.entries:
            self.empty.set()


def _failed(entry: Entry, message: str) -> Failed:
    return Failed(task_id=entry.task_id, attempt=entry.attempt, code=Code.ENGINE_ERROR, message=message)
