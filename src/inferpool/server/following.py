"""A caller that follows its own task until it is answered."""

from types import TracebackType
from typing import Final, Self

from inferpool.core.ids import TaskId
from inferpool.dispatch.calls import Ticket
from inferpool.dispatch.line import Standing
from inferpool.server.asgi import Headers
from inferpool.server.presence import Presence
from inferpool.server.request import Request
from inferpool.server.site import Site

POSITION_HEADER: Final = b"inferpool-queue-position"
WAIT_HEADER: Final = b"inferpool-expected-wait"
"""Seconds until the task is likely to start."""


class Following:
    """The task's watcher with the caller's presence; leaving the context closes the watcher.

    What the client ends cancels its task, what the server ends does not (spec section 5, "disconnect").
    """

    __slots__ = ("presence", "request", "site", "watcher")

    def __init__(self, site: Site, request: Request, ticket: Ticket) -> None:
        if ticket.watcher is None:
            raise RuntimeError("a watched call came back without its watcher")
        self.site = site
        self.request = request
        self.watcher = ticket.watcher
        self.presence = Presence(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.watcher.close(by_server=not self.presence.client_gone)


async def line_headers(site: Site, task_id: TaskId) -> Headers:
    """Where the task stands in its lane, for how long about; nothing once it is claimed."""
    row = await site.dispatch.reader.row(task_id)
    standing = None if row is None else await site.dispatch.queue.standing(row)
    return [] if standing is None else headers_of(standing)


def headers_of(standing: Standing) -> Headers:
    """The visible line as headers."""
    headers: Headers = [(POSITION_HEADER, b"%d" % standing.position)]
    if standing.wait_s is not None:
        headers.append((WAIT_HEADER, b"%.3f" % standing.wait_s))
    return headers
