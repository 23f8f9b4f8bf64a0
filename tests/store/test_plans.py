"""The plans: hot statements find their rows through an index, whatever the backlog."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from inferpool.store.connection import Row
from inferpool.store.statements import load_statements
from tests.store.stores import SettableClock, opened_sqlite

pytestmark = pytest.mark.anyio

BACKLOG = 50_000
TEXTS = load_statements("sqlite")

KEY = "SEARCH tasks USING INDEX sqlite_autoindex_tasks_1 (id=?)"
HOT = {
    "claimable": "SEARCH tasks USING INDEX tasks_waiting (lane=?)",
    "claim": KEY,
    "start": KEY,
    "end_attempt": KEY,
    "complete": KEY,
    "fail": KEY,
    "give_back": KEY,
    "retry_attempt": KEY,
    "retry": KEY,
    "revert_attempt": KEY,
    "revert": KEY,
    "adopt": KEY,
    "unlose": KEY,
    "cancel_look": KEY,
    "cancel": KEY,
    "replay": KEY,
    "delete_task": KEY,
    "verdict": KEY,
    "find_key": KEY + " LEFT-JOIN",
    "held": "SEARCH tasks USING INDEX tasks_held (claimed_by=?)",
    "lost": "SEARCH tasks USING INDEX tasks_lost (lost_by=?)",
    "clear_lost": "SEARCH tasks USING INDEX tasks_lost (lost_by=?)",
    "make_ready": "SEARCH tasks USING INDEX tasks_backing_off (available_at<?)",
    "expire": "SEARCH tasks USING INDEX tasks_expiring (expires_at<?)",
    "overdue": "SEARCH tasks USING INDEX tasks_overdue (deadline<?)",
    "end_unserved": "SCAN waiting USING INDEX tasks_impatient",
    "ended_tasks": "SEARCH tasks USING INDEX tasks_ended (completed_at<?)",
    "position": "SEARCH before USING INDEX tasks_waiting (lane=? AND rank<?)",
    "oldest": "SEARCH tasks USING INDEX tasks_waiting (lane=?)",
    "waiting_lane": "SEARCH tasks USING INDEX tasks_waiting (lane=?)",
    "row": KEY,
    "task": KEY,
    "tasks": "SEARCH tasks USING INDEX sqlite_autoindex_tasks_1 (id>? AND id<?)",
    "tasks_of_owner": "SEARCH tasks USING INDEX tasks_of_owner (owner=? AND id>? AND id<?)",
    "pending": "SEARCH tasks USING INDEX sqlite_autoindex_tasks_1 (id>?)",
    "delete_chunks": "SEARCH chunks USING INDEX chunks_stored (stored_at<?)",
    "delete_keys": "SEARCH idempotency_keys USING COVERING INDEX idempotency_keys_created (created_at<?)",
    "free_key": "SEARCH idempotency_keys USING COVERING INDEX idempotency_keys_of_task (task_id=?)",
    "silent_sessions": "SEARCH sessions USING INDEX sessions_seen (seen_at<?)",
    "forgotten_sessions": "SEARCH sessions USING INDEX sessions_inactive (inactive_at<?)",
    "llms_of_session": "SEARCH llms USING INDEX llms_of_session (session_id=?)",
    "quiet_llms": "SEARCH llms USING INDEX llms_of_session (session_id=?)",
    "standing": KEY,
    "ending": "SEARCH attempts USING PRIMARY KEY (task_id=? AND attempt=?)",
    "session_standing": "SEARCH sessions USING INDEX sqlite_autoindex_sessions_1 (id=?)",
    "deactivate": "SEARCH sessions USING INDEX sqlite_autoindex_sessions_1 (id=?)",
    "orphans": "SCAN sessions USING INDEX sessions_seen",
    "pending_counts": "SCAN tasks USING INDEX tasks_expiring",
    "forget_servers": "SEARCH servers USING PRIMARY KEY (id=?)",
    "valid_token": "SEARCH tokens USING INDEX sqlite_autoindex_tokens_2 (hash=?)",
    "lapsed_tokens": "SEARCH tokens USING INDEX tokens_revoked (revoked_at>?)",
    "audit": "SEARCH audit USING PRIMARY KEY (id>? AND id<?)",
    "delete_audit": "SEARCH audit USING COVERING INDEX audit_at (at<?)",
}
"""Each statement with the step of its plan that finds its rows."""


def row(number: int) -> Row:
    name = f"01900000-0000-7000-8000-{number:012x}"
    lane = f"pool:{number % 1000}"
    routing = (name, lane, lane[5:], None, "qwen", None, "chat/completions", 0, "default", float(number))
    rest = ("local", None, "wait", 3, "{}", 1, 1, 2, 1, 2, "application/json", "{}", b"{}")
    return (*routing, *rest, "pending", 0, None, None, None, None, None, None)


@pytest.fixture(scope="module")
async def backlog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backlog") / "store.db"
    async with opened_sqlite(path) as pair:
        connection = pair._connection
        await connection.begin()
        await connection.write("enqueue", [row(number) for number in range(BACKLOG)])
        await connection.commit()
    return path


@pytest.fixture
def driver(backlog: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(backlog)) as connection:
        connection.create_function("now_us", 0, SettableClock().now_us, deterministic=True)
        yield connection


def parameters(text: str) -> int:
    """How many values a statement takes: numbered ones may stand in it more than once."""
    numbered = {int(number) for number in re.findall(r"\?(\d+)", text)}
    return max(numbered, default=text.count("?"))


def plan(driver: sqlite3.Connection, name: str) -> list[str]:
    text = TEXTS[name]
    steps = driver.execute(f"EXPLAIN QUERY PLAN {text}", [None] * parameters(text)).fetchall()
    return [detail for *_, detail in steps]


@pytest.mark.parametrize("name", HOT)
async def test_a_hot_statement_finds_its_rows_through_its_index(driver: sqlite3.Connection, name: str) -> None:
    steps = plan(driver, name)
    assert HOT[name] in steps
    assert [step for step in steps if step.startswith("SCAN tasks") and "USING" not in step] == []


@pytest.mark.parametrize("name", ["claimable", "tasks", "tasks_of_owner", "pending", "expire", "make_ready", "overdue"])
async def test_an_order_comes_from_the_index_not_from_sorting(driver: sqlite3.Connection, name: str) -> None:
    assert [step for step in plan(driver, name) if "TEMP B-TREE" in step] == []


class Meter:
    """Counts the steps of the database's machine, in hundreds."""

    def __init__(self) -> None:
        self.hundreds = 0

    def __call__(self) -> int:
        self.hundreds += 1
        return 0


async def test_a_claim_reads_no_more_of_the_backlog_than_it_takes(driver: sqlite3.Connection) -> None:
    meter = Meter()
    driver.set_progress_handler(meter, 100)
    found = driver.execute(TEXTS["claimable"], (0, "pool:7", None, 4)).fetchall()
    driver.set_progress_handler(None, 0)
    assert len(found) == 4
    assert meter.hundreds < 5
