"""How full the outbox is: what waits for the server, what is kept in memory although the server has it."""

import asyncio
from collections.abc import Iterable

from inferpool.worker.entry import Entry
from inferpool.worker.options import OutboxOptions


class Pressure:
    """Sums over all entries, kept up to date by whoever moves chunks.

    `full` tells engines' readers to wait in `room`: this bounds the memory, nothing is dropped.
    """

    def __init__(self, options: OutboxOptions) -> None:
        self._options = options
        self._space = asyncio.Event()
        self.chunks = 0
        """Chunks that the server has not taken."""
        self.bytes = 0
        """Their payload."""
        self.kept_bytes = 0
        """Payload in memory that the server has taken."""

    @property
    def full(self) -> bool:
        return self.chunks >= self._options.waiting_chunks or self.bytes >= self._options.waiting_bytes

    async def room(self) -> None:
        """Wait until the outbox takes more."""
        while self.full:
            self._space.clear()
            await self._space.wait()

    @property
    def excess_bytes(self) -> int:
        """What of the kept payload should leave the memory: down to half of the bound once the bound is passed."""
        bound = self._options.memory_bytes
        return self.kept_bytes - bound // 2 if self.kept_bytes > bound else 0

    def leave(self, entry: Entry) -> None:
        """An entry is gone."""
        self.chunks -= entry.made - entry.acked
        self.bytes -= entry.waiting_bytes
        self.kept_bytes -= entry.kept_bytes
        self.relax()

    def recount(self, entries: Iterable[Entry]) -> None:
        """Sum up anew, after cursors jumped."""
        self.chunks = self.bytes = self.kept_bytes = 0
        for entry in entries:
            self.chunks += entry.made - entry.acked
            self.bytes += entry.waiting_bytes
            self.kept_bytes += entry.kept_bytes
        self.relax()

    def relax(self) -> None:
        """Let the waiting readers go on if there is room."""
        if not self.full:
            self._space.set()
