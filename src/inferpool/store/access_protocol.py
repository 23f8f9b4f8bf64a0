"""The port to tokens with the audit: a part of `Store` as of `StoreReader`, small enough to be one's own.

Errors are those of `protocol.py`.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from inferpool.core.access import AuditEntry, NewToken, Token
from inferpool.core.clock import Micros
from inferpool.core.ids import TokenId


class AccessStore(Protocol):
    """Makes tokens, ends them, writes down what was done."""

    async def create_token(self, token: NewToken) -> Token: ...

    async def revoke_token(self, token_id: TokenId) -> Token:
        """End it for good; one that was revoked before stays as it is. Raises `NotFound`."""
        ...

    async def use_tokens(self, used: Sequence[tuple[TokenId, Micros]]) -> None:
        """Note the days (their first microsecond, UTC) on which tokens let in; a later day stands."""
        ...

    async def write_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Keep the lines; one that stands already (a repeat of unknown outcome) is not written twice."""
        ...

    async def delete_audit(self, age: Micros, limit: int) -> int:
        """Delete lines older than `age`. Returns how many."""
        ...


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of the audit's list, joined by AND. Times bound `at` (from inclusive, to exclusive)."""

    subject: str | None = None
    outcome: str | None = None
    from_us: Micros | None = None
    to_us: Micros | None = None


class AccessReader(Protocol):
    """Looks at tokens with the audit."""

    async def tokens(self, before: TokenId | None, limit: int) -> list[Token]:
        """Newest first, those that are revoked or have expired too."""
        ...

    async def token(self, token_id: TokenId) -> Token | None: ...

    async def valid_token(self, token_hash: str) -> Token | None:
        """The token of this SHA-256 (hex), if it is neither revoked nor expired."""
        ...

    async def any_token(self) -> bool:
        """Whether one was ever made: a revoked one counts."""
        ...

    async def lapsed_tokens(self, age: Micros) -> list[TokenId]:
        """Those that were revoked, or expired, within the last `age`."""
        ...

    async def audit(self, which: AuditFilter, before: str | None, limit: int) -> list[AuditEntry]:
        """Newest first."""
        ...
