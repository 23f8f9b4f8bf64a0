"""The routes of tokens: made, listed, revoked by admins."""

from typing import Final

import msgspec

from inferpool.core.errors import NotFound
from inferpool.core.ids import TokenId
from inferpool.dispatch.access import Wish
from inferpool.server.query import Query, path_id
from inferpool.server.request import Reply, Request
from inferpool.server.site import Site
from inferpool.wire.tokens import TokenList, read_new_token, show_made, show_token

PATH: Final = "/api/v1/tokens"
_BODY_MOST: Final = 2**20

_encode: Final = msgspec.json.Encoder().encode


async def create(site: Site, request: Request) -> Reply:
    """Make a token; its text is in this answer alone. The first one closes an open server."""
    Query(request)
    asked = read_new_token(await request.body(_BODY_MOST))
    wish = Wish(subject=asked.subject, role=asked.role, limits=asked.limits, expires_in=asked.expires_in)
    made = await site.dispatch.access.create(wish)
    request.thing = made.token.id
    headers = [("Location", f"{PATH}/{made.token.id}"), ("Cache-Control", "no-store")]
    return Reply(status=201, body=_encode(show_made(made.token, made.text)), headers=headers)


async def list_all(site: Site, request: Request) -> Reply:
    """Tokens, newest first, those that are revoked or have expired too."""
    query = Query(request, {"cursor", "limit"})
    limit = query.limit()
    before = query.cursor()
    found = await site.dispatch.reader.tokens(None if before is None else TokenId(before), limit + 1)
    page = [show_token(token) for token in found[:limit]]
    return Reply(body=_encode(TokenList(page, page[-1].id if len(found) > limit else None)))


async def read(site: Site, request: Request) -> Reply:
    """One token."""
    token_id = TokenId(path_id(request, "token_id", "token"))
    Query(request)
    token = await site.dispatch.reader.token(token_id)
    if token is None:
        raise NotFound(f"there is no token {token_id}")
    return Reply(body=_encode(show_token(token)))


async def revoke(site: Site, request: Request) -> Reply:
    """End a token for good; one that was revoked before is answered unchanged."""
    token_id = TokenId(path_id(request, "token_id", "token"))
    Query(request)
    return Reply(body=_encode(show_token(await site.dispatch.access.revoke(token_id))))
