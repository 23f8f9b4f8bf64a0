"""Sends what a watcher sees as an event stream: one write for all that is new, a comment when nothing is."""

from collections.abc import Sequence
from typing import Protocol

from inferpool.dispatch.strand import Chunks, Ended, Restarted, Seen
from inferpool.dispatch.watcher import Watcher
from inferpool.server.request import Request


class Framing(Protocol):
    """How one API writes what a watcher sees."""

    def chunks(self, seen: Chunks) -> bytes: ...

    def restarted(self, seen: Restarted) -> tuple[bytes, bool]:
        """What to write when what was sent is void; True: the stream ends with it."""
        ...

    async def ended(self, seen: Ended) -> bytes: ...

    async def idle(self) -> bytes:
        """What keeps the connection alive while nothing is new."""
        ...


async def pump(
    request: Request, watcher: Watcher, framing: Framing, comment_s: float, news: Sequence[Seen] = ()
) -> None:
    """Write `news`, then all that the watcher sees, until the end; the head of the response is sent already.

    A client that reads slowly holds up nothing but itself: the next write waits for it, the chunks wait in the feed.
    """
    while True:
        part, done = await _frames(framing, news or watcher.take())
        if part or done:
            await request.write(part, more=not done)
        if done:
            return
        news = ()
        if not await watcher.wait(comment_s):
            await request.write(await framing.idle())


async def _frames(framing: Framing, news: Sequence[Seen]) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    for seen in news:
        if isinstance(seen, Chunks):
            parts.append(framing.chunks(seen))
        elif isinstance(seen, Ended):
            parts.append(await framing.ended(seen))
            return b"".join(parts), True
        else:
            part, done = framing.restarted(seen)
            parts.append(part)
            if done:
                return b"".join(parts), True
    return b"".join(parts), False
