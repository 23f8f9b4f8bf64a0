"""A batch of the uplink: which events it carries, of whom, under which bounds it grows."""

from typing import NamedTuple

from inferpool.wire.sessions import Chunk, Event, Result, encode_events
from inferpool.worker.entry import Entry, Terminal
from inferpool.worker.options import OutboxOptions

_FRAME_BYTES = 100
"""What an event weighs beside its payload."""


class Span(NamedTuple):
    """What a batch carries of one attempt: chunks up to `last`, perhaps its end."""

    entry: Entry
    last: int
    terminal: Terminal | None


class Batch(NamedTuple):
    """An encoded batch. It is repeated byte for byte until an answer to it was read."""

    spans: list[Span]
    loose: int
    """How many events that belong to no attempt it carries."""
    events: int
    body: bytes

    @property
    def ends(self) -> bool:
        """Whether it carries the end of any attempt."""
        return any(span.terminal is not None for span in self.spans)


class Draft:
    """A batch that still grows. The first event always fits, however big it is."""

    def __init__(self, options: OutboxOptions, events: int) -> None:
        self._events: list[Event] = []
        self._room = events
        self._bytes = options.batch_bytes
        self._spans: list[Span] = []
        self._loose = 0

    @property
    def has_room(self) -> bool:
        return self._room > 0 and self._bytes > 0

    def add_loose(self, events: list[Event]) -> None:
        """Take the first of these, as many as fit."""
        self._loose = min(len(events), self._room)
        self._events += events[: self._loose]
        self._room -= self._loose

    def add_entry(self, entry: Entry) -> None:
        """Take of the entry what fits; its chunks from `sent` on are in memory."""
        if entry.started is not None and not entry.started_sent and not entry.refused:
            self._take(entry.started, 0)
            entry.started_sent = True
        entry.sent += self._take_chunks(entry.chunks, entry.sent + 1 - entry.first)
        terminal = self._take_end(entry)
        self._spans.append(Span(entry, entry.sent, terminal))

    def finish(self) -> Batch:
        return Batch(self._spans, self._loose, len(self._events), encode_events(self._events))

    def _take_chunks(self, chunks: list[Chunk], begin: int) -> int:
        at, end = begin, min(len(chunks), begin + self._room)
        left = self._bytes
        while at < end and left > 0:
            left -= len(chunks[at].data) + _FRAME_BYTES
            at += 1
        taken = at - begin
        self._events += chunks[begin:at]
        self._bytes, self._room = left, self._room - taken
        return taken

    def _take_end(self, entry: Entry) -> Terminal | None:
        terminal = entry.terminal
        if terminal is None or entry.terminal_sent or entry.sent < entry.made or self._room <= 0:
            return None
        size = _size(terminal)
        if self._events and size > self._bytes:
            return None
        self._take(terminal, size)
        entry.terminal_sent = True
        return terminal

    def _take(self, event: Event, size: int) -> None:
        self._events.append(event)
        self._room -= 1
        self._bytes -= size + _FRAME_BYTES


def _size(terminal: Terminal) -> int:
    return len(terminal.body or terminal.body_base64 or "") if isinstance(terminal, Result) else 0
