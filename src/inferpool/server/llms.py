"""The native routes of llms: which there are, who publishes them.

They tell what calls are judged by, the catalog in memory: a row may be committed a moment before calls know of it.
"""

from typing import Final

import msgspec

from inferpool.core.errors import NotFound
from inferpool.server.query import Query
from inferpool.server.request import Reply, Request
from inferpool.server.site import Site
from inferpool.wire.registry import LlmList, show_llm

_encode: Final = msgspec.json.Encoder().encode


async def list_all(site: Site, request: Request) -> Reply:
    """Llms by name, inactive ones too."""
    query = Query(request, {"cursor", "limit"})
    limit = query.limit()
    found = site.dispatch.catalog.llms(query.text("cursor") or "", limit + 1, request.caller.limits)
    page = found[:limit]
    return Reply(body=_encode(LlmList([show_llm(llm) for llm in page], page[-1].name if len(found) > limit else None)))


async def read(site: Site, request: Request) -> Reply:
    """One llm, by its name."""
    Query(request)
    name = request.params["name"]
    llm = site.dispatch.catalog.llm(name)
    if llm is None:
        raise NotFound(f"there is no llm {name[:200]!r}")
    if not request.caller.limits.sees(llm.name, llm.pool):
        raise NotFound.unseen(f"there is no llm {name[:200]!r}")
    return Reply(body=_encode(show_llm(llm)))
