"""The tokens as this server knows them: who is let in, as whom."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from inferpool.core.access import LOCAL, TOKEN_PREFIX, Caller, Limits, NewToken, Role, Token
from inferpool.core.clock import DAY, MINUTE, Clock, Micros
from inferpool.core.errors import InferpoolError
from inferpool.core.ids import NewId, TokenId
from inferpool.store.access_protocol import AccessReader, AccessStore


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is asked for."""

    subject: str
    role: Role
    limits: Limits = Limits()
    expires_in: Micros | None = None


class MadeToken(msgspec.Struct, frozen=True):
    """A new token with its text, which is told this once."""

    token: Token
    text: str


class Makers(msgspec.Struct, frozen=True):
    """What comes from outside: the present, identity, 256 random bits as text.

    `own_token` is one that this process alone knows, for the worker in it: it lets that publish whether or not there are
    others, is nowhere stored, ends with the process.
    """

    clock: Clock
    new_id: NewId
    new_secret: Callable[[], str]
    own_token: str | None = None


OWN_WORKER: Final = Caller(LOCAL, Role.PUBLISHER)
"""The worker in this very process."""


class _Known:
    """A token that let in, with the day on which it did last."""

    __slots__ = ("caller", "day", "id")

    def __init__(self, token: Token) -> None:
        self.id = token.id
        self.caller = token.caller
        self.day = token.last_used


class Access:
    """Remembers the tokens that let in; a look at the store each second forgets those that no longer do.

    While no token was ever made the server is `open`: it has one local user. It never becomes open again.
    """

    def __init__(self, store: AccessStore, reader: AccessReader, makers: Makers) -> None:
        self.open = True
        self._store = store
        self._reader = reader
        self._makers = makers
        self._own = None if makers.own_token is None else _hash(makers.own_token.encode())
        self._known: dict[str, _Known] = {}
        self._hashes: dict[TokenId, str] = {}
        self._used: dict[TokenId, Micros] = {}
        self._followers: dict[TokenId, list[Callable[[], None]]] = {}
        self._looked_at = makers.clock.now_us()
        self._day = _day_of(self._looked_at)

    async def recall(self) -> None:
        """Read whether there are tokens: before anybody is let in."""
        self.open = not await self._reader.any_token()

    def known(self, token: bytes) -> Caller | None:
        """Whom a token stands for that has let in before; the hot path."""
        token_hash = hashlib.sha256(token).hexdigest()
        known = self._known.get(token_hash)
        if known is None:
            return OWN_WORKER if token_hash == self._own else None
        if known.day != self._day:
            known.day = self._used[known.id] = self._day
        return known.caller

    async def find(self, token: bytes) -> Caller | None:
        """Whom a token stands for, as the store knows; None: it lets nobody in."""
        token_hash = _hash(token)
        stored = await self._reader.valid_token(token_hash)
        if stored is None:
            return None
        self._known[token_hash] = _Known(stored)
        self._hashes[stored.id] = token_hash
        return self.known(token)

    @contextmanager
    def standing(self, token_id: TokenId | None, ended: Callable[[], None]) -> Iterator[None]:
        """A context in which `ended` is called once the token no longer lets in: at once where that is so already."""
        if token_id is None:
            yield
            return
        if token_id not in self._hashes:
            ended()
        followers = self._followers.setdefault(token_id, [])
        followers.append(ended)
        try:
            yield
        finally:
            followers.remove(ended)
            if not followers:
                self._followers.pop(token_id, None)

    async def create(self, wish: Wish) -> MadeToken:
        """Make a token; the first one closes an open server."""
        text = TOKEN_PREFIX + self._makers.new_secret()
        new = NewToken(
            id=TokenId(self._makers.new_id()),
            hash=_hash(text.encode()),
            subject=wish.subject,
            role=wish.role,
            limits=wish.limits,
            expires_in=wish.expires_in,
        )
        token = await self._store.create_token(new)
        self.open = False
        return MadeToken(token, text)

    async def revoke(self, token_id: TokenId) -> Token:
        """End a token: here at once, at other servers within a second. Raises `NotFound`."""
        token = await self._store.revoke_token(token_id)
        self._forget(token_id)
        return token

    async def refresh(self) -> None:
        """Each second: forget what was revoked elsewhere or has expired, write down the days of use.

        When the store cannot tell, all is forgotten: it must be asked again before it lets anybody in.
        """
        try:
            await self._refresh()
        except InferpoolError:
            self._known.clear()
            self._hashes.clear()
            raise

    async def _refresh(self) -> None:
        now = self._makers.clock.now_us()
        age = MINUTE + max(0, now - self._looked_at)  # a process may have been asleep
        self._day = _day_of(now)
        if self.open:
            await self.recall()
        else:
            for token_id in await self._reader.lapsed_tokens(age):
                self._forget(token_id)
        self._looked_at = now
        if self._used:
            used, self._used = self._used, {}
            await self._store.use_tokens(list(used.items()))

    def _forget(self, token_id: TokenId) -> None:
        token_hash = self._hashes.pop(token_id, None)
        if token_hash is not None:
            self._known.pop(token_hash, None)
        for ended in list(self._followers.get(token_id, ())):
            ended()


def _hash(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


def _day_of(now: Micros) -> Micros:
    """The day's first microsecond, UTC."""
    return now - now % DAY
