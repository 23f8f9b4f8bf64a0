"""The routes of tokens as the command line calls them."""

from typing import Final

import msgspec

from inferpool.client.caller import JSON
from inferpool.client.pages import ANSWER_S, Pages, decoded, path_of
from inferpool.wire.tokens import MadeTokenJson, NewTokenRequest, TokenJson, TokenList

_TOKENS: Final = "/api/v1/tokens"


class TokenCalls(Pages):
    """Every method raises `TransportError` when no server answers, or the error that the server told."""

    async def tokens(self, limit: int) -> list[TokenJson]:
        """Tokens, newest first."""
        return [token async for page in self._pages(_TOKENS, TokenList, {}, limit) for token in page.data][:limit]

    async def token(self, token_id: str) -> TokenJson:
        return decoded(await self._get(path_of(_TOKENS, token_id)), TokenJson)

    async def create_token(self, asked: NewTokenRequest) -> MadeTokenJson:
        """Make a token; its text is in the answer alone."""
        body = msgspec.json.encode(asked)
        request = self._caller.request("POST", _TOKENS, JSON, body, ANSWER_S, ANSWER_S)
        return decoded(await self._caller.call(request), MadeTokenJson)

    async def revoke_token(self, token_id: str) -> TokenJson:
        """End a token for good; one that was revoked before comes back unchanged."""
        request = self._caller.request("DELETE", path_of(_TOKENS, token_id), {}, b"", ANSWER_S, ANSWER_S)
        return decoded(await self._caller.call(request), TokenJson)
