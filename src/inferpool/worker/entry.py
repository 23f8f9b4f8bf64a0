"""One attempt in the outbox: what was made of it, what is under way, what the server has."""

from typing import TypeAlias

from inferpool.wire.sessions import Chunk, Failed, Result, Returned, Started, Stopped

Key: TypeAlias = tuple[str, int]
"""An attempt: the task's id with the attempt's number."""

Terminal: TypeAlias = Result | Failed | Returned | Stopped
"""The event that ends an attempt's life at this worker."""


class Entry:
    """The events of one attempt in order: `started`, chunks 1 … `made`, `terminal`.

    `acked` ≤ `sent` ≤ `made` count chunks: taken by the server, handed to a batch, given by the engine. Chunks below
    `first` are not in memory but on disk.
    """

    __slots__ = (
        "acked",
        "attempt",
        "chunks",
        "first",
        "kept_bytes",
        "queued",
        "refused",
        "sent",
        "shelved",
        "started",
        "started_sent",
        "task_id",
        "terminal",
        "terminal_sent",
        "waiting_bytes",
    )

    def __init__(self, task_id: str, attempt: int) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.started: Started | None = None
        self.started_sent = False
        self.chunks: list[Chunk] = []
        self.first = 1
        self.sent = 0
        self.acked = 0
        self.terminal: Terminal | None = None
        self.terminal_sent = False
        self.queued = False
        """It stands in the outbox's queue of entries with something to send."""
        self.refused = False
        """The server takes nothing of it but the news that it stopped."""
        self.shelved = False
        """Its chunks with its terminal event are on disk."""
        self.waiting_bytes = 0
        """Payload of the chunks that the server has not taken yet."""
        self.kept_bytes = 0
        """Payload of the chunks in memory that it has taken."""

    @property
    def key(self) -> Key:
        return self.task_id, self.attempt

    @property
    def made(self) -> int:
        """The seq of the last chunk that the engine gave."""
        return self.first + len(self.chunks) - 1

    @property
    def unsent(self) -> bool:
        """Whether a batch could take something of it."""
        if self.terminal is not None and not self.terminal_sent:
            return True
        return not self.refused and (self.sent < self.made or (self.started is not None and not self.started_sent))

    @property
    def worth_keeping(self) -> bool:
        """Whether its end is an answer that must outlive the process."""
        return isinstance(self.terminal, (Result, Failed))

    def take(self, last: int) -> None:
        """Note that the server took the chunks up to this seq."""
        if last <= self.acked:
            return
        moved = sum([len(chunk.data) for chunk in self.chunks[self.acked + 1 - self.first : last + 1 - self.first]])
        self.waiting_bytes -= moved
        self.kept_bytes += moved
        self.acked = last

    def rewind(self, have_seq: int) -> None:
        """Send again what comes after this seq: the answering server has no more."""
        self.acked = self.sent = min(have_seq, self.made)
        self.started_sent = self.terminal_sent = False
        self.measure()

    def silence(self) -> None:
        """Send nothing of it any more but the news that it stopped."""
        self.refused = True
        self.acked = self.sent = self.made
        self.first = self.made + 1
        self.chunks.clear()
        self.measure()

    def measure(self) -> None:
        """Count the payloads anew, after the cursors jumped."""
        at = max(0, self.acked + 1 - self.first)
        self.kept_bytes = sum(len(chunk.data) for chunk in self.chunks[:at])
        self.waiting_bytes = sum(len(chunk.data) for chunk in self.chunks[at:])
