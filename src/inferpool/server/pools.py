"""The native routes of pools: what can be called, how much of it is free, how long one waits."""

from typing import Final

import msgspec

from inferpool.core.errors import NotFound
from inferpool.dispatch.pools import PoolView
from inferpool.server.query import Query
from inferpool.server.request import Reply, Request
from inferpool.server.site import Site
from inferpool.wire.registry import PoolJson, PoolList, show_member

_encode: Final = msgspec.json.Encoder().encode


async def list_all(site: Site, request: Request) -> Reply:
    """Pools by name: those with an llm, those in which something waits."""
    query = Query(request, {"cursor", "limit"})
    limit = query.limit()
    limits = request.caller.limits
    after = query.text("cursor") or ""
    names = [name for name in site.dispatch.pools.names(limits) if name > after]
    page = await site.dispatch.pools.views(names[:limit], limits)
    cursor = names[limit - 1] if len(names) > limit else None
    return Reply(body=_encode(PoolList([_shown(view) for view in page], cursor)))


async def read(site: Site, request: Request) -> Reply:
    """One pool, by its name."""
    Query(request)
    name = request.params["name"]
    limits = request.caller.limits
    if name not in site.dispatch.pools.names(limits):
        raise NotFound(f"there is no pool {name[:200]!r}")
    [view] = await site.dispatch.pools.views([name], limits)
    return Reply(body=_encode(_shown(view)))


def _shown(view: PoolView) -> PoolJson:
    return PoolJson(
        name=view.name,
        members=[show_member(llm) for llm in view.members],
        slots=view.slots,
        running=view.running,
        pending=view.pending,
        oldest_wait_s=view.oldest_wait_s,
        expected_wait_s=view.expected_wait_s,
    )
