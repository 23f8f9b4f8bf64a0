"""Makes, lists, revokes tokens in this machine's own store, while no server runs on it."""

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from inferpool.core.access import AuditEntry
from inferpool.core.ids import TokenId
from inferpool.dispatch.access import Access, MadeToken, Makers, Wish
from inferpool.settings import ServeSettings, database
from inferpool.store.access_protocol import AccessReader, AccessStore
from inferpool.wire.tokens import MadeTokenJson, NewTokenRequest, TokenJson, check_new_token, show_made, show_token


class OwnTokens:
    """The tokens of an open store; `first`: there was none before."""

    def __init__(self, store: AccessStore, reader: AccessReader, makers: Makers) -> None:
        self._store = store
        self._reader = reader
        self._makers = makers
        self._access = Access(store, reader, makers)
        self.first = False

    async def create_token(self, asked: NewTokenRequest) -> MadeTokenJson:
        """Make a token. Raises `InvalidRequest`."""
        check_new_token(asked)
        self.first = not await self._reader.any_token()
        wish = Wish(subject=asked.subject, role=asked.role, limits=asked.limits, expires_in=asked.expires_in)
        made: MadeToken = await self._access.create(wish)
        await self._note("create", made.token.id)
        return show_made(made.token, made.text)

    async def tokens(self, limit: int) -> list[TokenJson]:
        """Tokens, newest first."""
        return [show_token(token) for token in await self._reader.tokens(None, limit)]

    async def revoke_token(self, token_id: str) -> TokenJson:
        """End a token for good. Raises `NotFound`."""
        token = await self._access.revoke(TokenId(token_id))
        await self._note("revoke", token.id)
        return show_token(token)

    async def _note(self, act: str, token_id: TokenId) -> None:
        """The audit tells of it as of what a server did; who it was, this machine's user says."""
        entry = AuditEntry(
            id=self._makers.new_id(),
            at=self._makers.clock.now_us(),
            subject=_user(),
            token_id=None,
            action=f"inferpool token {act}",
            resource=token_id,
            address="",
            outcome="done",
        )
        await self._store.write_audit([entry])


def _user() -> str:
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return ""


@asynccontextmanager
async def own_tokens(settings: ServeSettings) -> AsyncIterator[OwnTokens]:
    """The tokens of the store that `inferpool serve` would open.

    Raises `StoreUnavailable` while a server runs on an SQLite file; PostgreSQL takes us beside it.
    """
    from inferpool.compose import WallClock, new_id, new_secret
    from inferpool.store.opening import open_store

    clock = WallClock()
    pair = await open_store(database(settings.database_url), clock, new_id())
    try:
        yield OwnTokens(pair.store, pair.reader, Makers(clock, new_id, new_secret))
    finally:
        await pair.close()
