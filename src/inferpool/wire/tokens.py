"""Tokens with the audit as the native API shows them (spec section 8); a token's text stands in the answer that made it alone."""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from inferpool.core.access import SUBJECT_LIMIT, AuditEntry, Limits, Role, Token
from inferpool.core.clock import DAY, SECOND, Micros, micros
from inferpool.core.errors import InvalidRequest
from inferpool.core.llm import NAME_LIMIT
from inferpool.wire.problems import malformed
from inferpool.wire.tasks import to_rfc3339

EXPIRY_MOST: Final[Micros] = 3650 * DAY
NAMES_MOST: Final = 100
"""Llms, or pools, that one token may name."""


class NewTokenRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`POST /api/v1/tokens`. Without `expires_in_s` the token never expires; without names it is not limited."""

    role: Role
    subject: str
    expires_in_s: Annotated[float, Meta(gt=0)] | None = None
    llms: list[str] = []
    pools: list[str] = []

    @property
    def expires_in(self) -> Micros | None:
        return None if self.expires_in_s is None else micros(self.expires_in_s)

    @property
    def limits(self) -> Limits:
        return Limits(frozenset(self.llms), frozenset(self.pools))


class TokenJson(msgspec.Struct, frozen=True, kw_only=True):
    """A token without its text. `last_used_on` is a day (UTC)."""

    id: str
    subject: str
    role: Role
    llms: list[str]
    pools: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_on: str | None


class MadeTokenJson(TokenJson, frozen=True, kw_only=True):
    """A new token; `token` is told this once."""

    token: str


class TokenList(msgspec.Struct, frozen=True):
    """`GET /api/v1/tokens`, newest first."""

    data: list[TokenJson]
    next_cursor: str | None


class AuditJson(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit: `count` like deeds within a second, the first one at `at`."""

    id: str
    at: str
    subject: str
    token_id: str | None
    action: str
    resource: str
    address: str
    outcome: str
    count: int


class AuditList(msgspec.Struct, frozen=True):
    """`GET /api/v1/audit`, newest first."""

    data: list[AuditJson]
    next_cursor: str | None


_decode: Final = msgspec.json.Decoder(NewTokenRequest).decode


def read_new_token(body: bytes) -> NewTokenRequest:
    """What a token is to be. Raises `InvalidRequest`, which names the field."""
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from error
    check_new_token(asked)
    return asked


def check_new_token(asked: NewTokenRequest) -> None:
    """Raises `InvalidRequest` for what no token may be."""
    _check_name(asked.subject, "subject", SUBJECT_LIMIT)
    for field, names in (("llms", asked.llms), ("pools", asked.pools)):
        if len(names) > NAMES_MOST:
            raise InvalidRequest(f"a token names at most {NAMES_MOST} {field}", param=field)
        for number, name in enumerate(names):
            _check_name(name, f"{field}[{number}]", NAME_LIMIT)
    if asked.role is Role.ADMIN and asked.limits:
        raise InvalidRequest("an admin's token cannot be limited: it could make itself another", param="role")
    if asked.expires_in is not None and not SECOND <= asked.expires_in <= EXPIRY_MOST:
        raise InvalidRequest("a token expires after 1 second to 3650 days", param="expires_in_s")


def _check_name(name: str, param: str, limit: int) -> None:
    if not name or len(name) > limit or not name.isprintable() or name != name.strip():
        raise InvalidRequest(f"`{param}` is 1 to {limit} printable characters, no space around", param=param)


def show_token(token: Token) -> TokenJson:
    """A token as the API shows it."""
    return TokenJson(
        id=token.id,
        subject=token.subject,
        role=token.role,
        llms=token.llms,
        pools=token.pools,
        created_at=to_rfc3339(token.created_at),
        expires_at=None if token.expires_at is None else to_rfc3339(token.expires_at),
        revoked_at=None if token.revoked_at is None else to_rfc3339(token.revoked_at),
        last_used_on=None if token.last_used is None else _day(token.last_used),
    )


def show_made(token: Token, text: str) -> MadeTokenJson:
    """A new token with its text."""
    return MadeTokenJson(**msgspec.structs.asdict(show_token(token)), token=text)


def _day(time: Micros) -> str:
    return datetime.fromtimestamp(time / SECOND, UTC).date().isoformat()


def show_entry(entry: AuditEntry) -> AuditJson:
    """A line of the audit as the API shows it."""
    return AuditJson(
        id=entry.id,
        at=to_rfc3339(entry.at),
        subject=entry.subject,
        token_id=entry.token_id,
        action=entry.action,
        resource=entry.resource,
        address=entry.address,
        outcome=entry.outcome,
        count=entry.count,
    )
