"""What the native API shows of llms with the sessions that publish them; a session's secret never."""

import msgspec

from inferpool.core.llm import Kind, Llm, LlmStatus
from inferpool.core.session import Session
from inferpool.wire.sessions import WorkerInfo
from inferpool.wire.tasks import to_rfc3339


class LlmJson(msgspec.Struct, frozen=True, kw_only=True):
    """An llm. `pool` is the effective one: `pool_name`, else its own name."""

    name: str
    kind: Kind
    status: LlmStatus
    pool: str
    pool_name: str | None
    tier: str | None
    model: str
    type: str
    engine: str
    slots: int
    endpoints: list[str] | None
    extra: dict[str, str]
    session_id: str | None
    created_at: str
    updated_at: str


class LlmList(msgspec.Struct, frozen=True):
    """`GET /api/v1/llms`, by name."""

    data: list[LlmJson]
    next_cursor: str | None


class PoolMember(msgspec.Struct, frozen=True, kw_only=True):
    """An llm of a pool. `slots` are its engine's, which it may share."""

    name: str
    status: LlmStatus
    slots: int
    session_id: str | None


class PoolJson(msgspec.Struct, frozen=True, kw_only=True):
    """A pool with what it does right now.

    `slots` live ones, busy or not; `pending`, those pinned to a member too; `oldest_wait_s` of what waits, None where nothing
    does; `expected_wait_s` of a task that would come now, None where nothing is known of it.
    """

    name: str
    members: list[PoolMember]
    slots: int
    running: int
    pending: int
    oldest_wait_s: float | None
    expected_wait_s: float | None


class PoolList(msgspec.Struct, frozen=True):
    """`GET /api/v1/pools`, by name."""

    data: list[PoolJson]
    next_cursor: str | None


class SessionJson(msgspec.Struct, frozen=True, kw_only=True):
    """A session. `seen_at` is its last heartbeat as the store knows it, a few seconds old at the most."""

    id: str
    epoch: int
    active: bool
    leaving: bool
    worker: WorkerInfo
    subject: str
    server_id: str
    created_at: str
    registered_at: str
    seen_at: str
    inactive_at: str | None


class SessionList(msgspec.Struct, frozen=True):
    """`GET /api/v1/sessions`, newest first."""

    data: list[SessionJson]
    next_cursor: str | None


def show_llm(llm: Llm) -> LlmJson:
    """An llm as the API shows it."""
    return LlmJson(
        name=llm.name,
        kind=llm.kind,
        status=llm.status,
        pool=llm.pool,
        pool_name=llm.pool_name,
        tier=llm.tier,
        model=llm.model,
        type=llm.type,
        engine=llm.engine,
        slots=llm.slots,
        endpoints=llm.endpoints,
        extra=llm.extra,
        session_id=llm.session_id,
        created_at=to_rfc3339(llm.created_at),
        updated_at=to_rfc3339(llm.updated_at),
    )


def show_member(llm: Llm) -> PoolMember:
    """An llm as its pool shows it."""
    return PoolMember(name=llm.name, status=llm.status, slots=llm.slots, session_id=llm.session_id)


def show_session(session: Session) -> SessionJson:
    """A session as the API shows it."""
    return SessionJson(
        id=session.id,
        epoch=session.epoch,
        active=session.active,
        leaving=session.leaving,
        worker=WorkerInfo(name=session.worker_name, version=session.worker_version, labels=session.labels),
        subject=session.subject,
        server_id=session.server_id,
        created_at=to_rfc3339(session.created_at),
        registered_at=to_rfc3339(session.registered_at),
        seen_at=to_rfc3339(session.seen_at),
        inactive_at=None if session.inactive_at is None else to_rfc3339(session.inactive_at),
    )
