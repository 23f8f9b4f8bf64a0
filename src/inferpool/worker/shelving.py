"""Decides when the outbox's content goes to disk: a result that waits longer than a moment, chunks that memory cannot hold.

Design section 5. No result touches the disk while the server answers at once.
"""

import asyncio
from collections import deque
from collections.abc import Iterable

from inferpool.core.failpoints import reach
from inferpool.wire.sessions import Result
from inferpool.worker.entry import Entry
from inferpool.worker.options import OutboxOptions
from inferpool.worker.shelf import Shelf


class Shelving:
    """The queue of finished answers that are in memory alone, with the one timer that watches it."""

    def __init__(self, options: OutboxOptions, shelf: Shelf) -> None:
        self._options = options
        self._shelf = shelf
        self._due: deque[tuple[float, Entry]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._server_away = False

    def add(self, entry: Entry) -> None:
        """A finished answer waits from now on."""
        if self._server_away or self._options.shelve_after_s <= 0:
            self._keep(entry)
        else:
            self._later(entry, self._options.shelve_after_s)

    def server_away(self) -> None:
        """Put everything on disk now, from now on at once: nobody knows for how long the server is away."""
        if not self._server_away:
            self._server_away = True
            self.flush()

    def server_back(self) -> None:
        self._server_away = False

    def flush(self) -> None:
        """Put every finished answer on disk that waits."""
        waiting, self._due = self._due, deque()
        for _, entry in waiting:
            self._keep(entry)

    def relieve(self, entries: Iterable[Entry], excess_bytes: int) -> None:
        """Move acknowledged chunks of the longest attempts out of memory."""
        for entry in sorted(entries, key=_kept, reverse=True):
            if excess_bytes <= 0:
                return
            excess_bytes -= self._shelf.spill(entry)
            entry.measure()

    def fetch(self, entry: Entry) -> bool:
        """Bring its chunks back into memory; False when they are lost."""
        fetched = self._shelf.fetch(entry)
        entry.measure()
        return fetched

    def forget(self, entry: Entry) -> None:
        """The entry is over: remove its files."""
        self._shelf.forget(entry)
        entry.shelved = True  # a timer that still knows it has nothing to do

    def close(self) -> None:
        """Put on disk what still waits, then stop the timer."""
        self.flush()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _keep(self, entry: Entry) -> None:
        if entry.shelved or not entry.worth_keeping:
            return
        if not self._shelf.keep(entry):
            self._later(entry, self._options.disk_retry_s)
        elif isinstance(entry.terminal, Result):
            reach("worker.after_result")

    def _later(self, entry: Entry, delay_s: float) -> None:
        self._due.append((asyncio.get_running_loop().time() + delay_s, entry))
        if self._timer is None:
            self._watch()

    def _watch(self) -> None:
        self._timer = asyncio.get_running_loop().call_at(self._due[0][0], self._look)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._due and self._due[0][0] <= now:
            self._keep(self._due.popleft()[1])
        self._timer = None
        if self._due:
            self._watch()


def _kept(entry: Entry) -> int:
    return entry.kept_bytes
