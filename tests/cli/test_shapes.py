"""Claims about the words for states."""

import msgspec
import pytest

from inferpool.cli.shapes import session_state, task_state
from inferpool.core.errors import Code
from inferpool.core.lifecycle import Status
from inferpool.core.task import Fault
from inferpool.wire.registry import SessionJson
from inferpool.wire.sessions import WorkerInfo
from tests.client.test_native import TIME, task


def test_a_task_says_its_status_with_what_holds_it_up() -> None:
    pending = task("t", Status.PENDING)
    assert task_state(pending) == "pending"
    assert task_state(msgspec.structs.replace(pending, ready=False)) == "pending (backing off)"
    failed = msgspec.structs.replace(pending, status=Status.ERROR, error=Fault(Code.EXPIRED, "too late"))
    assert task_state(failed) == "error (expired)"


@pytest.mark.parametrize(
    ("active", "leaving", "word"), [(True, False, "active"), (True, True, "leaving"), (False, False, "inactive")]
)
def test_a_session_says_whether_it_can_be_given_work(active: bool, leaving: bool, word: str) -> None:
    session = SessionJson(
        id="s",
        epoch=1,
        active=active,
        leaving=leaving,
        worker=WorkerInfo(name="desk"),
        subject="local",
        server_id="v",
        created_at=TIME,
        registered_at=TIME,
        seen_at=TIME,
        inactive_at=None,
    )
    assert session_state(session) == word
