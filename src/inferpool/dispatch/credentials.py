"""Who speaks for a session, held against what is known of it."""

import hashlib
import hmac

import msgspec

from inferpool.core.errors import Forbidden, NotFound, SessionInactive, SessionReplaced
from inferpool.core.ids import ServerId, SessionId
from inferpool.store.servers_protocol import SessionStanding


class Credentials(msgspec.Struct, frozen=True):
    """Who speaks on a session route."""

    session_id: SessionId
    secret: str
    epoch: int
    only: str | None = None
    """The subject whose sessions alone it may speak for; None: for any."""


def hashed(secret: str) -> str:
    """SHA-256 of a session's secret, in hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def check_hash(expected: str, given: str) -> None:
    """Raises `Forbidden` where a session has another secret."""
    if not hmac.compare_digest(expected, given):
        raise Forbidden("this session id has another secret")


def check_speaker(who: Credentials, subject: str, secret_hash: str, epoch: int) -> None:
    """Raises `NotFound` for somebody else's session, `Forbidden`, `SessionReplaced`."""
    if who.only not in {None, subject}:
        raise NotFound.unseen(f"there is no session {who.session_id}")
    check_hash(secret_hash, hashed(who.secret))
    if who.epoch != epoch:
        raise SessionReplaced(f"epoch {who.epoch} was replaced by {epoch}", epoch)


def check_visitor(who: Credentials, standing: SessionStanding | None, server_id: ServerId) -> SessionStanding:
    """The session that another server serves, if the speaker may speak for it here.

    Raises `SessionInactive` for one that ended, or whose server is gone, beside the errors of `check_speaker`.
    """
    if standing is None or not standing.active:
        raise SessionInactive("this server has no such active session: register (again)")
    check_speaker(who, standing.subject, standing.secret_hash, standing.epoch)
    if standing.server_id == server_id or not standing.alive:
        raise SessionInactive("the session's server is gone: register again")
    return standing
