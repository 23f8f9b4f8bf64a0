"""What happened in a run, in order: the whole of it as one hash, the last part in words."""

import asyncio
import hashlib
from collections import deque


class Trace:
    """Takes one line an event. Two runs are the same when their hashes are."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, keep: int | None = 400, echo: bool = False) -> None:
        self._loop = loop
        self._hash = hashlib.blake2b(digest_size=16)
        self._lines: deque[str] = deque(maxlen=keep)
        self._echo = echo

    def note(self, who: str, what: str) -> None:
        """`who` did, saw, or suffered `what`, now."""
        line = f"{self._loop.time():10.4f} {who:<10} {what}"
        self._hash.update(line.encode())
        self._lines.append(line)
        if self._echo:
            print(line)  # noqa: T201 - a trace is asked for by a person

    @property
    def now(self) -> float:
        """The time of the next line, in virtual seconds."""
        return self._loop.time()

    @property
    def hash(self) -> str:
        return self._hash.hexdigest()

    def __str__(self) -> str:
        return "\n".join(self._lines)
