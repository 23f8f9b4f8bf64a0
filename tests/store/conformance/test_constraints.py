"""Claims about the database itself: it refuses the rows that the law does not know, whoever writes them."""

import pytest

from inferpool.core.ids import SessionId, TaskId
from inferpool.core.lifecycle import Status
from tests.store.builders import Rig, Worker, claimed, ended, enqueue, registered, row_of, running

pytestmark = pytest.mark.anyio

ANY_ROW = [
    "status = 'lost'",
    "tries = max_tries + 1",
    "tries = -1",
    "max_tries = 0",
    "max_tries = 101",
    "attempt = -1",
    "rank = NULL",
    "ready = 2",
    "streaming = 2",
    "mode = 'maybe'",
    "priority = 'urgent'",
    "owner = NULL",
    "request = NULL",
    "lane = NULL",
]
WAITING = ["claimed_by = 'x'", "claimed_at = 1", "deadline = 1", "stream_started_at = 1", "completed_at = 1"]
HELD = ["claimed_by = NULL", "claimed_at = NULL", "deadline = NULL", "claimed_llm = NULL", "completed_at = 1"]
OVER = ["completed_at = NULL", "claimed_by = 'x'", "deadline = 1", "lost_by = 'x'", "ready = 0", "status = 'pending'"]

ILLEGAL: dict[str, list[str]] = {
    "pending": [
        *ANY_ROW,
        *WAITING,
        "error_code = 'x'",
        "status = 'claimed'",
        "status = 'completed'",
        "status = 'error'",
    ],
    "claimed": [*ANY_ROW, *HELD, "lost_by = 'x'", "ready = 0", "attempt = 0", "error_code = 'x'", "status = 'pending'"],
    "running": [*ANY_ROW, *HELD, "lost_by = 'x'", "ready = 0", "attempt = 0", "status = 'cancelled'"],
    "completed": [
        *ANY_ROW,
        *OVER,
        "response = NULL",
        "response_status = NULL",
        "error_code = 'x'",
        "status = 'running'",
    ],
    "error": [*ANY_ROW, *OVER, "error_code = NULL", "status = 'cancelled'", "status = 'claimed'"],
    "cancelled": [*ANY_ROW, *OVER, "error_code = 'x'", "status = 'error'", "status = 'completed'"],
}


async def staged(rig: Rig, worker: Worker, status: Status) -> TaskId:
    """A task in that state."""
    if status is Status.PENDING:
        return (await enqueue(rig))[0]
    if status is Status.CLAIMED:
        return await claimed(rig, worker)
    return await (running(rig, worker) if status is Status.RUNNING else ended(rig, worker, status))


def takes(rig: Rig, change: str) -> bool:
    """Whether the database lets the change happen to every task."""
    try:
        rig.sql(f"UPDATE tasks SET {change}")
    except rig.refusal:
        return False
    return True


@pytest.mark.parametrize("status", list(Status))
async def test_a_row_that_breaks_the_law_is_refused(rig: Rig, status: Status) -> None:
    worker = await registered(rig)
    task_id = await staged(rig, worker, status)
    before = await row_of(rig, task_id)
    assert [change for change in ILLEGAL[status] if takes(rig, change)] == []
    assert await row_of(rig, task_id) == before


@pytest.mark.parametrize("change", ["ending = 'lost'", "counted = 2", "session_id = NULL", "started_at = NULL"])
async def test_a_history_line_that_says_nothing_known_is_refused(rig: Rig, change: str) -> None:
    await ended(rig, await registered(rig), Status.COMPLETED)
    with pytest.raises(rig.refusal):
        rig.sql(f"UPDATE attempts SET {change}")


async def test_an_attempt_has_one_history_line(rig: Rig) -> None:
    await ended(rig, await registered(rig), Status.COMPLETED)
    with pytest.raises(rig.refusal):
        rig.sql("INSERT INTO attempts SELECT * FROM attempts")


@pytest.mark.parametrize(
    "change", ["active = 0", "active = 2", "inactive_at = 1", "epoch = NULL", "secret_hash = NULL"]
)
async def test_a_session_is_active_or_says_since_when_it_is_not(rig: Rig, change: str) -> None:
    await registered(rig)
    with pytest.raises(rig.refusal):
        rig.sql(f"UPDATE sessions SET {change}")


@pytest.mark.parametrize("change", ["status = 'asleep'", "slots = -1", "kind = 'remote'", "session_id = NULL"])
async def test_an_llm_is_of_a_known_status_with_a_known_kind(rig: Rig, change: str) -> None:
    await registered(rig)
    with pytest.raises(rig.refusal):
        rig.sql(f"UPDATE llms SET {change}")


async def test_a_session_has_no_channel_under_an_epoch_that_it_never_had(rig: Rig) -> None:
    await registered(rig)
    with pytest.raises(rig.refusal):
        rig.sql("UPDATE sessions SET bound_epoch = epoch + 1")


async def test_a_release_that_knows_nothing_of_channels_may_write_sessions(rig: Rig) -> None:
    rig.sql(
        "INSERT INTO sessions (id, epoch, active, leaving, server_id, subject, worker_name, worker_version, labels,"
        " created_at, registered_at, seen_at, secret_hash)"
        " VALUES ('s', 1, 1, 0, 'server', 'local', 'a', '0.1.0', '{}', 1, 1, 1, 'hash')"
    )
    [there] = await rig.reader.session_standings([SessionId("s")])
    assert not there.bound
