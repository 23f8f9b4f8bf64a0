"""Claims about the checker: a store that obeyed its law is clean, each breach of a rule is found, whatever its page."""

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from inferpool.core.errors import StoreUnavailable
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.store.invariants import RULES, Survey, Violation, check
from inferpool.store.sqlite_connection import connect_reader
from inferpool.store.statements import load_statements
from tests.store.builders import (
    Doctor,
    Rig,
    Value,
    Worker,
    claimed,
    complete,
    ended,
    enqueue,
    registered,
    retry,
    running,
)
from tests.store.rigs import TAMPERED, postgres_rig, sqlite_rig
from tests.store.stores import SettableClock

pytestmark = pytest.mark.anyio

FREE_PAGES = 36
"""Where a file says how many of its pages are free (SQLite file format, section 1.3)."""


@pytest.fixture(params=sorted(TAMPERED))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """An empty store of each implementation that can be made to hold what the law forbids."""
    async with TAMPERED[request.param](tmp_path) as made:
        yield made


@pytest.fixture
async def reader(rig: Rig) -> AsyncIterator[Doctor]:
    """The connection of someone who only looks, beside the server."""
    with closing(rig.doctor()) as connection:
        yield connection


def tamper(rig: Rig, statement: str, *values: Value) -> None:
    """Change the store behind the server's back."""
    assert rig.tamper(statement, *values) > 0


async def staged(rig: Rig, worker: Worker, status: str) -> TaskId:
    """A task in that state; `lost` is pending again because its session went."""
    if status == "pending":
        return (await enqueue(rig))[0]
    if status == "claimed":
        return await claimed(rig, worker)
    if status == "running":
        return await running(rig, worker)
    if status == "lost":
        task_id = await running(rig, worker)
        await worker.lose()
        return task_id
    if status == "retried":
        task_id = await running(rig, worker)
        await rig.store.retry(retry(worker.says(task_id), delay=1_000_000))
        return task_id
    if status == "streamed":
        task_id = await running(rig, worker)
        await rig.store.complete(complete(worker.says(task_id), chunks=b"packed"))
        return task_id
    return await ended(rig, worker, Status(status))


STATES = ("pending", "claimed", "running", "lost", "retried", "streamed", "completed", "error", "cancelled")


async def test_a_store_that_obeyed_its_law_is_clean(rig: Rig, reader: Doctor) -> None:
    for name, status in enumerate(STATES):
        await staged(rig, await registered(rig, f"worker-{name}"), status)
    assert await check(reader) == []


async def test_an_empty_store_is_clean(rig: Rig, reader: Doctor) -> None:
    assert await check(reader) == []


BREACHES = [
    ("status", "pending", "status = 'lost'"),
    ("pending", "pending", "claimed_by = 'x'"),
    ("pending", "pending", "claimed_at = 1"),
    ("pending", "pending", "deadline = 1"),
    ("pending", "pending", "stream_started_at = 1"),
    ("pending", "pending", "completed_at = 1"),
    ("pending", "pending", "error_code = 'x'"),
    ("held", "claimed", "claimed_by = NULL"),
    ("held", "claimed", "claimed_llm = NULL"),
    ("held", "running", "claim_batch = NULL"),
    ("held", "running", "claimed_at = NULL"),
    ("held", "running", "deadline = NULL"),
    ("held", "running", "attempt = 0"),
    ("held", "running", "completed_at = 1"),
    ("held", "running", "error_code = 'x'"),
    ("ended", "completed", "completed_at = NULL"),
    ("ended", "completed", "response = NULL"),
    ("ended", "completed", "response_status = NULL"),
    ("ended", "completed", "error_code = 'x'"),
    ("ended", "error", "error_code = NULL"),
    ("ended", "error", "claimed_by = 'x'"),
    ("ended", "cancelled", "deadline = 1"),
    ("waiting", "cancelled", "lost_by = 'x'"),
    ("waiting", "running", "ready = 0"),
    ("waiting", "lost", "ready = 0"),
    ("tries", "pending", "tries = 1"),
    ("tries", "running", "tries = -1"),
    ("tries", "retried", "tries = max_tries, attempt = max_tries"),
    ("history", "completed", "attempt = 2"),
    ("history", "running", "attempt = 2"),
    ("history", "lost", "attempt = 0"),
    ("counted", "completed", "tries = 1"),
    ("one_end", "completed", "status = 'cancelled'"),
    ("one_end", "cancelled", "status = 'completed', response = request, response_status = 200"),
    ("lost", "lost", "lost_by = 'another'"),
    ("lost", "retried", "lost_by = 'another', ready = 1"),
    ("holder", "running", "claimed_by = 'nobody'"),
    ("lane", "pending", "lane = 'pool:elsewhere'"),
    ("size", "pending", "size = size + 1"),
    ("chunks", "streamed", "attempt = 2"),
    ("chunks", "streamed", "status = 'error', error_code = 'x'"),
]


@pytest.mark.parametrize(("rule", "status", "change"), BREACHES)
async def test_each_breach_by_a_task_is_found(rig: Rig, reader: Doctor, rule: str, status: str, change: str) -> None:
    task_id = await staged(rig, await registered(rig), status)
    tamper(rig, f"UPDATE tasks SET {change} WHERE id = ?", task_id)
    assert (rule, task_id) in [(found.rule, found.subject) for found in await check(reader)]


async def test_a_holder_that_is_inactive_is_found(rig: Rig, reader: Doctor) -> None:
    worker = await registered(rig)
    task_id = await running(rig, worker)
    tamper(rig, "UPDATE sessions SET active = 0, inactive_at = 1")
    breaches = await check(reader)
    assert Violation("holder", task_id, f"running by {worker.id}, inactive") in breaches
    assert Violation("llms", worker.llm, "status active, session inactive") in breaches


async def test_a_history_without_its_task_is_found_as_is_its_stream(rig: Rig, reader: Doctor) -> None:
    task_id = await staged(rig, await registered(rig), "streamed")
    tamper(rig, "DELETE FROM tasks WHERE id = ?", task_id)
    found = await check(reader)
    assert [one.rule for one in found] == ["orphaned_history", "chunks"]
    assert {one.subject for one in found} == {task_id}


async def test_a_key_that_leads_to_a_strangers_task_is_found(rig: Rig, reader: Doctor) -> None:
    [task_id] = await enqueue(rig)
    insert = "INSERT INTO idempotency_keys (owner, idempotency_key, body_hash, task_id, created_at) VALUES (?, 'k', 'h', ?, 1)"
    tamper(rig, insert, "local", task_id)
    tamper(rig, insert, "somebody", "a task that was purged")
    assert await check(reader) == []
    tamper(rig, "UPDATE idempotency_keys SET owner = 'stranger' WHERE owner = 'local'")
    assert await check(reader) == [Violation("keys", task_id, "a key of stranger, a task of local")]


async def test_a_session_that_is_neither_here_nor_gone_is_found(rig: Rig, reader: Doctor) -> None:
    worker = await registered(rig)
    tamper(rig, "UPDATE sessions SET epoch = 0")
    assert await check(reader) == [Violation("sessions", worker.id, "active 1, leaving 0, epoch 0")]


async def test_an_llm_whose_session_is_gone_is_found(rig: Rig, reader: Doctor) -> None:
    worker = await registered(rig)
    tamper(rig, "DELETE FROM sessions")
    assert await check(reader) == [Violation("llms", worker.llm, "status active, session missing")]


async def test_every_page_is_looked_at(rig: Rig, reader: Doctor) -> None:
    ids = await enqueue(rig, 7)
    await rig.flushed()
    tamper(rig, "UPDATE tasks SET size = 0")
    survey = Survey(reader, page=3)
    assert [found.subject async for found in survey.violations()] == ids
    assert survey.tasks == 7


async def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    async with sqlite_rig(tmp_path) as rig:
        await enqueue(rig)
    with (tmp_path / "store.db").open("r+b") as file:
        file.seek(FREE_PAGES)
        file.write((7).to_bytes(4, "big"))
    with closing(connect_reader(tmp_path / "store.db", SettableClock())) as connection:
        assert "file" in [found.rule for found in await check(connection)]


async def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "other.db").touch()
    with closing(connect_reader(tmp_path / "other.db", SettableClock())) as connection, pytest.raises(StoreUnavailable):
        await check(connection)


async def test_an_index_that_is_not_whole_is_found(tmp_path: Path) -> None:
    spoil = "UPDATE pg_index SET indisvalid = ? WHERE indexrelid = 'tasks_held'::regclass"
    async with postgres_rig(tmp_path) as rig:
        with closing(rig.doctor()) as connection:
            rig.tamper(spoil, False)
            try:
                assert await check(connection) == [Violation("file", "", "the index tasks_held is not valid")]
            finally:
                rig.tamper(spoil, True)


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_each_rule_is_a_statement_with_a_remedy(dialect: str) -> None:
    names = [rule.name for rule in RULES]
    stated = {name.removeprefix("check_") for name in load_statements(dialect) if name.startswith("check_")}
    assert sorted(names) == sorted(name for name in stated if not name.startswith("page_"))
    assert all(rule.says and rule.remedy for rule in RULES)
