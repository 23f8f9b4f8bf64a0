"""The session: one worker's identity, kept across reconnects.

Spec section 4. A session comes back under a higher epoch each time it registers; whoever speaks with another one is
refused, so two processes can never both believe that they are it.
"""

import msgspec

from inferpool.core.clock import Micros
from inferpool.core.ids import ServerId, SessionId, TaskId
from inferpool.core.llm import LlmStatus

PROTOCOL = 1
"""The version of the protocol between server and worker that this release speaks."""


class LlmOffer(msgspec.Struct, frozen=True, kw_only=True):
    """An llm as a registering worker publishes it; the fields of `core.llm.Llm` that the worker decides."""

    name: str
    model: str
    type: str = "chat"
    tier: str | None = None
    pool_name: str | None = None
    engine: str
    slots: int
    status: LlmStatus = LlmStatus.ACTIVE
    endpoints: list[str] | None = None
    extra: dict[str, str] = {}


class HeldAttempt(msgspec.Struct, frozen=True):
    """An attempt named by both sides."""

    task_id: TaskId
    attempt: int


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What one registration writes: all of it in one transaction, or nothing."""

    session_id: SessionId
    secret_hash: str
    """SHA-256 (hex) of the session's secret; a known session must show the same."""
    epoch: int
    server_id: ServerId
    subject: str
    worker_name: str
    worker_version: str
    labels: dict[str, str]
    llms: list[LlmOffer]
    holding: list[HeldAttempt]
    unwritten: list[HeldAttempt]
    """Attempts of the session whose frames this server never handed over: their revert costs no try."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session as the store keeps it (never its secret). Times in microseconds UTC."""

    id: SessionId
    epoch: int
    active: bool
    leaving: bool
    server_id: ServerId
    subject: str
    worker_name: str
    worker_version: str
    labels: dict[str, str]
    created_at: Micros
    registered_at: Micros
    seen_at: Micros
    inactive_at: Micros | None
