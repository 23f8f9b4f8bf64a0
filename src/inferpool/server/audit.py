"""`GET /api/v1/audit`: who did, or was refused, what."""

from typing import Final

import msgspec

from inferpool.server.query import Query
from inferpool.server.request import Reply, Request
from inferpool.server.site import Site
from inferpool.store.access_protocol import AuditFilter
from inferpool.wire.tokens import AuditList, show_entry

_FILTERS: Final = frozenset({"subject", "outcome", "from", "to", "cursor", "limit"})

_encode: Final = msgspec.json.Encoder().encode


async def list_all(site: Site, request: Request) -> Reply:
    """Lines, newest first; what happened just now is among them."""
    query = Query(request, _FILTERS)
    limit = query.limit()
    before = query.cursor()
    which = AuditFilter(
        subject=query.text("subject"),
        outcome=query.text("outcome"),
        from_us=query.time("from"),
        to_us=query.time("to"),
    )
    await site.dispatch.trail.flush()
    found = await site.dispatch.reader.audit(which, before, limit + 1)
    page = [show_entry(entry) for entry in found[:limit]]
    return Reply(body=_encode(AuditList(page, page[-1].id if len(found) > limit else None)))
