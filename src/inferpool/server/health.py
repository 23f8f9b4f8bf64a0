"""Whether the process lives, whether it takes calls: for supervisors in front of it."""

from inferpool.core.errors import ShuttingDown, StoreUnavailable
from inferpool.server.request import Reply, Request
from inferpool.server.site import Site


async def alive(site: Site, request: Request) -> Reply:
    """The event loop answers: 200."""
    return Reply(body=b'{"status":"ok"}')


async def ready(site: Site, request: Request) -> Reply:
    """The store is open, new calls are taken: 200. Raises `StoreUnavailable` or `ShuttingDown` otherwise."""
    if not site.dispatch.ready:
        raise StoreUnavailable("this server is not ready yet, or no longer")
    if not site.dispatch.accepting:
        raise ShuttingDown("this server is shutting down")
    return Reply(body=b'{"status":"ready"}')
