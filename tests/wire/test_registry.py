"""Claims about how llms, sessions are shown."""

import msgspec

from inferpool.core.ids import ServerId, SessionId
from inferpool.core.llm import Kind, Llm, LlmStatus
from inferpool.core.session import Session
from inferpool.wire.registry import show_llm, show_session

NOON = 1_785_585_600_000_000
SESSION = Session(
    id=SessionId("s"),
    epoch=3,
    active=True,
    leaving=False,
    server_id=ServerId("v"),
    subject="local",
    worker_name="box",
    worker_version="0.1",
    labels={"room": "12"},
    created_at=NOON,
    registered_at=NOON,
    seen_at=NOON,
    inactive_at=None,
)
LLM = Llm(
    name="m@box",
    session_id=SessionId("s"),
    kind=Kind.VIRTUAL,
    model="m",
    type="chat",
    tier=None,
    pool_name=None,
    engine="e",
    slots=4,
    status=LlmStatus.ACTIVE,
    endpoints=None,
    extra={},
    created_at=NOON,
    updated_at=NOON,
)


def test_an_llm_without_a_pool_name_is_its_own_pool() -> None:
    assert (show_llm(LLM).pool, show_llm(LLM).pool_name) == ("m@box", None)
    assert show_llm(msgspec.structs.replace(LLM, pool_name="m")).pool == "m"


def test_a_session_shows_its_worker() -> None:
    shown = show_session(SESSION)
    assert (shown.worker.name, shown.worker.labels, shown.inactive_at) == ("box", {"room": "12"}, None)


def test_a_lost_session_tells_since_when() -> None:
    shown = show_session(msgspec.structs.replace(SESSION, active=False, inactive_at=NOON))
    assert (shown.active, shown.inactive_at) == (False, "2026-08-01T12:00:00.000Z")


def test_no_secret_is_among_the_fields() -> None:
    assert not [name for name in type(show_session(SESSION)).__struct_fields__ if "secret" in name]
