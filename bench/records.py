"""Records for the store as dispatch would hand them in."""

from typing import Final

import uuid_utils

from bench.script import Wish, answer_body, request_body
from inferpool.core.ids import BatchId, ServerId, SessionId, TaskId
from inferpool.core.session import LlmOffer, Registration
from inferpool.core.task import Answer, ClaimFor, NewTask, Routing, Usage
from inferpool.core.turns import Turns
from inferpool.store.protocol import Claim, Completion, LanesWant, Spoken

LANE: Final = "pool:scripted"
SERVER: Final = ServerId("01900000-0000-7000-9000-000000000001")
REQUEST: Final = request_body(Wish(1))
ANSWER: Final = Answer(200, "application/json", answer_body(1))
_ROUTING: Final = Routing(lane=LANE, pool_name="scripted", model="scripted")
_USAGE: Final = Usage(200, 200)


def llm_name(session_id: SessionId) -> str:
    """The session's one llm."""
    return f"scripted@{session_id}"


def new_id() -> str:
    """A UUIDv7."""
    return str(uuid_utils.uuid7())


def registration(session_id: SessionId) -> Registration:
    """A session whose one llm serves the lane."""
    return Registration(
        session_id=session_id,
        secret_hash="",
        epoch=1,
        server_id=SERVER,
        subject="local",
        worker_name="bench",
        worker_version="0",
        labels={},
        llms=[LlmOffer(name=llm_name(session_id), model="scripted", pool_name="scripted", engine="bench", slots=64)],
        holding=[],
        unwritten=[],
    )


def task(owner: str = "local", rank: float = 1.0) -> NewTask:
    """A call with a body of 1 KB."""
    return NewTask(
        id=TaskId(new_id()),
        routing=_ROUTING,
        endpoint="chat/completions",
        request=REQUEST,
        priority="default",
        rank=rank,
        owner=owner,
    )


def slot(session_id: SessionId) -> ClaimFor:
    """A free slot of the session."""
    return ClaimFor(
        session_id=session_id, epoch=1, server_id=SERVER, llm_name=llm_name(session_id), batch=BatchId(new_id())
    )


def completion(task_id: TaskId, session_id: SessionId) -> Completion:
    """The answer of the first attempt, 1 KB."""
    return Completion(spoken=Spoken(task_id, 1, session_id), answer=ANSWER, usage=_USAGE)


def claim(session_id: SessionId, free: int) -> Claim:
    """A claim of waiting tasks for the session's llm."""
    return Claim(
        session_id=session_id,
        epoch=1,
        server_id=SERVER,
        batch=BatchId(new_id()),
        free=free,
        lanes=[LanesWant(lane=LANE, llm_name=llm_name(session_id), endpoints=None)],
        run_limit=3_600_000_000,
        turns=Turns(),
    )
