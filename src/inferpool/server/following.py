"""A caller that follows its own task until it is answered."""

from types import TracebackType
from typing import Self

from inferpool.core.lifecycle import Status
from inferpool.dispatch.calls import Ticket
from inferpool.server.presence import Presence
from inferpool.server.request import Request
from inferpool.server.site import Site

POSITION_HEADER = "Inferpool-Queue-Position"


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


async def position_header(site: Site, following: Following) -> list[tuple[bytes, bytes]]:
    """Where the task stands in its lane; nothing once it is claimed."""
    row = await site.dispatch.reader.row(following.watcher.task_id)
    if row is None or row.status is not Status.PENDING:
        return []
    place = await site.dispatch.reader.position(row.id)
    return [] if place is None else [(POSITION_HEADER.lower().encode(), b"%d" % place)]
