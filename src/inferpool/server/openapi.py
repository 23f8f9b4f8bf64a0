"""`/openapi.json`: the description of every route, for people as for their tools."""

from inferpool.server.query import Query
from inferpool.server.request import Reply, Request
from inferpool.server.site import Site


async def read(site: Site, request: Request) -> Reply:
    """This description (OpenAPI 3.1), made from the very structs that the server reads or writes."""
    Query(request)
    return Reply(body=site.document)
