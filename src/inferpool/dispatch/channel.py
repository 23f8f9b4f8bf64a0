"""The way from the server to one worker: frames in order, pings when there are none."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from inferpool.core.failpoints import reach
from inferpool.dispatch.slots import Held, HeldState
from inferpool.wire.sessions import Ping, encode_frame

_PING: Final = encode_frame(Ping())
_WRITE_LIMIT: Final = 256 * 1024
"""Bytes that one write joins at the most."""


class Channel:
    """Frames for a session, from its bind until it is replaced, lost or closed."""

    def __init__(self, ping_s: float, on_lost: "Callable[[Channel], None]") -> None:
        self._loop = asyncio.get_running_loop()
        self._ping_s = ping_s
        self._on_lost = on_lost
        self._queue: deque[tuple[bytes, Held | None]] = deque()
        self._awaited: asyncio.Future[None] | None = None
        self._quiet = False
        self.closed = False
        self._timer = self._loop.call_later(ping_s, self._tick)

    def push(self, frame: bytes, held: Held | None = None) -> None:
        """Send a frame; `held` is the attempt that an `infer` frame carries."""
        self._queue.append((frame, held))
        self._wake()

    async def frames(self) -> AsyncIterator[bytes]:
        """What to write next, several frames joined; ends when the channel is closed."""
        while not self.closed:
            if not self._queue:
                self._awaited = self._loop.create_future()
                await self._awaited
                continue
            joined, infers = self._next_write()
            if joined:
                yield joined
            if infers:
                reach("dispatch.after_frame")

    def _next_write(self) -> tuple[bytes, int]:
        parts: list[bytes] = []
        size = infers = 0
        while self._queue and size < _WRITE_LIMIT:
            frame, held = self._queue.popleft()
            if held is not None:
                if held.state is not HeldState.UNWRITTEN:
                    continue  # cancelled or reverted before it left
                held.state = HeldState.WRITTEN
                infers += 1
            parts.append(frame)
            size += len(frame)
        self._quiet = False
        return b"".join(parts), infers

    def lost(self) -> None:
        """The connection is gone: what was not written goes back to the queue. Only the first call counts."""
        if not self.closed:
            self.close()
            self._on_lost(self)

    def close(self) -> None:
        """End the channel from this side."""
        self.closed = True
        self._timer.cancel()
        self._wake()

    def _tick(self) -> None:
        """A ping where nothing was written since the last tick."""
        if self._quiet and not self._queue:
            self.push(_PING)
        self._quiet = True
        self._timer = self._loop.call_later(self._ping_s, self._tick)

    def _wake(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)
