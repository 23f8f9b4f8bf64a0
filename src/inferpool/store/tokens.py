"""What happens to tokens, what the audit keeps."""

from collections.abc import Sequence

from inferpool.core.access import AuditEntry, NewToken, Token
from inferpool.core.clock import Micros
from inferpool.core.errors import NotFound
from inferpool.core.ids import TokenId
from inferpool.store.connection import Connection
from inferpool.store.rows import CREATE_TOKEN, DELETE_AUDIT, REVOKE_TOKEN
from inferpool.store.statements import json_text
from inferpool.store.tasks import now_us


async def create(connection: Connection, token: NewToken) -> Token:
    """Store the token; its age counts from here."""
    now = await now_us(connection)
    expires_at = None if token.expires_in is None else now + token.expires_in
    llms, pools = json_text(sorted(token.limits.llms)), json_text(sorted(token.limits.pools))
    row = (token.id, token.subject, token.role, llms, pools, now, expires_at, token.hash)
    return (await connection.read(CREATE_TOKEN, [row]))[0]


async def revoke(connection: Connection, token_id: TokenId) -> Token:
    """End the token. Raises `NotFound`."""
    found = await connection.read(REVOKE_TOKEN, [(token_id,)])
    if not found:
        raise NotFound(f"there is no token {token_id}")
    return found[0]


async def use(connection: Connection, used: Sequence[tuple[TokenId, Micros]]) -> None:
    """Note when tokens let in."""
    await connection.write("use_token", [(day, token_id) for token_id, day in used])


async def write_audit(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Keep the lines."""
    rows = [
        (one.id, one.at, one.subject, one.token_id, one.action, one.resource, one.address, one.outcome, one.count)
        for one in entries
    ]
    await connection.write("write_audit", rows)


async def delete_audit(connection: Connection, age: Micros, limit: int) -> int:
    """Delete lines that are `age` old."""
    found = await connection.read(DELETE_AUDIT, [(age, limit)])
    await connection.shrink()
    return len(found)
