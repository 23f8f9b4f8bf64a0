"""The plans on PostgreSQL: hot statements find their rows through an index, whatever the backlog."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import TypeAlias

import pytest

from inferpool.store.statements import load_statements
from tests.store.side_desk import SideDesk, new_desk

BACKLOG = 50_000
ENDED = 5_000
TEXTS = load_statements("postgres")

KEY = "Index Scan using tasks_pkey on tasks"
HOT = {
    "claimable": "Index Scan using tasks_waiting on tasks",
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
    "status_of": KEY,
    "find_key": KEY,
    "held": "using tasks_held on tasks",
    "lost": "using tasks_lost on tasks",
    "clear_lost": "Index Scan using tasks_lost on tasks",
    "make_ready": "Index Scan using tasks_backing_off on tasks",
    "expire": "Index Scan using tasks_expiring on tasks",
    "end_overdue": KEY,
    "overdue": "Index Scan using tasks_overdue on tasks",
    "end_unserved": "using tasks_impatient on tasks waiting",
    "ended_tasks": "Index Scan using tasks_ended on tasks",
    "position": "using tasks_waiting on tasks before",
    "oldest": "using tasks_waiting on tasks",
    "waiting_lane": "using tasks_waiting on tasks",
    "row": KEY,
    "task": KEY,
    "tasks": "Index Scan Backward using tasks_pkey on tasks",
    "tasks_of_owner": "Index Scan Backward using tasks_of_owner on tasks",
    "pending": KEY,
    "attempts": "Index Scan using attempts_pkey on attempts",
    "unwrite_attempt": "Index Scan using attempts_pkey on attempts",
    "delete_history": "Index Scan using attempts_pkey on attempts",
    "chunks": "Index Scan using chunks_pkey on chunks",
    "delete_stream": "Index Scan using chunks_pkey on chunks",
    "delete_chunks": "Index Scan using chunks_stored on chunks",
    "delete_keys": "Index Scan using idempotency_keys_created on idempotency_keys",
    "free_key": "using idempotency_keys_of_task on idempotency_keys",
    "claimer": "Index Scan using sessions_pkey on sessions",
    "beat_session": "Index Scan using sessions_pkey on sessions",
    "silent_sessions": "Index Scan using sessions_active on sessions",
    "forgotten_sessions": "Index Scan using sessions_inactive on sessions",
    "llm_owner": "Index Scan using llms_pkey on llms",
    "llms_of_session": "using llms_of_session on llms",
    "quiet_llms": "using llms_of_session on llms",
    "standing": KEY,
    "ending": "Index Scan using attempts_pkey on attempts",
    "session_standing": "Index Scan using sessions_pkey on sessions",
    "deactivate": "Index Scan using sessions_",
    "hold_server": "Index Scan using servers_pkey on servers",
    "orphans": "Index Scan using sessions_active on sessions",
    "pending_counts": "Index Scan using tasks_expiring on tasks",
    "forget_servers": "Index Scan using servers_pkey on servers",
    "valid_token": "Index Scan using tokens_hash_key on tokens",
    "lapsed_tokens": "using tokens_revoked on tokens",
    "audit": "Index Scan Backward using audit_pkey on audit",
    "delete_audit": "Index Scan using audit_at on audit",
    "count_commits": "Index Scan using writers_pkey on writers",
}
"""Each statement with the step of its plan that finds its rows."""

FILL = f"""
INSERT INTO tasks (
    id, lane, pool_name, model, endpoint, streaming, priority, rank, owner, mode, max_tries, metadata, created_at,
    available_at, expires_at, expires_in, size, content_type, headers, request, status, attempt, ready, tries
)
SELECT
    '01900000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'), 'pool:' || number % 1000, number % 1000, 'qwen',
    'chat/completions', 0, 'default', number, 'local', 'wait', 3, '{{}}', 1, 1, 2, 1, 2, 'application/json', '{{}}', '{{}}',
    'pending', 0, 1, 0
FROM generate_series(1, {BACKLOG}) AS number;
INSERT INTO llms (name, session_id, kind, model, type, engine, slots, status, extra, created_at, updated_at)
SELECT 'qwen@' || number, 'session ' || number % 500, 'virtual', 'qwen', 'chat', 'engine', 1, 'active', '{{}}', 1, 1
FROM generate_series(1, 1000) AS number;
INSERT INTO sessions (
    id, epoch, active, leaving, server_id, subject, worker_name, worker_version, labels, created_at, registered_at, seen_at,
    secret_hash
)
SELECT 'session ' || number, 1, 1, 0, 'server ' || number % 3, 'local', 'a', '1', '{{}}', 1, 1, number, 'hash'
FROM generate_series(0, 499) AS number;
INSERT INTO servers (id, seen_at)
SELECT 'server ' || number, 4102444800000000 * (number % 2)
FROM generate_series(0, 99) AS number;
"""
END = f"""
UPDATE tasks SET status = 'cancelled', completed_at = 1 WHERE rank <= {ENDED}
"""

Step: TypeAlias = dict[str, object]


@cache
def filled() -> SideDesk:
    """This process's own database with a backlog."""
    desk = new_desk("plans")
    desk.script(FILL)
    desk.script(END)
    desk.script("ANALYZE")
    return desk


@pytest.fixture
def desk() -> Iterator[SideDesk]:
    """A connection with the settings of the store's own, on the backlog."""
    desk = filled()
    limits = ("60000", "60000", "60000", "off", "plans")
    desk.sql(re.sub(r"\$\d", "?", TEXTS["set_up"]), *limits)
    yield desk
    desk.script("DEALLOCATE hot")


def plan(desk: SideDesk, name: str) -> list[str]:
    """The statement's plan for whatever values it may be given."""
    numbers = {int(number) for number in re.findall(r"\$(\d+)", TEXTS[name])}
    desk.script(f"PREPARE hot AS {TEXTS[name]}")
    values = f"({', '.join(['NULL'] * max(numbers, default=0))})" if numbers else ""
    return [str(line) for (line,) in desk.sql(f"EXPLAIN EXECUTE hot{values}")]


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_finds_its_rows_through_its_index(desk: SideDesk, name: str) -> None:
    steps = plan(desk, name)
    assert [step for step in steps if HOT[name] in step] != [], "\n".join(steps)
    assert [
        step for step in steps if re.search(r"Seq Scan on (tasks|attempts|chunks|idempotency_keys|audit)\b", step)
    ] == []


@pytest.mark.parametrize(
    "name", ["tasks", "tasks_of_owner", "pending", "expire", "make_ready", "overdue", "ended_tasks"]
)
def test_an_order_comes_from_the_index_not_from_sorting(desk: SideDesk, name: str) -> None:
    assert [step for step in plan(desk, name) if "Sort" in step] == []


@pytest.mark.parametrize(
    ("name", "values", "rows"),
    [
        ("claimable", "ARRAY[0], ARRAY['pool:7'], ARRAY[NULL], ARRAY[4]", 4),
        ("standing", f"ARRAY{[f'01900000-0000-7000-8000-{number:012x}' for number in range(1, 101)]}", 100),
        ("pending_counts", "", BACKLOG - ENDED),
    ],
)
def test_a_statement_reads_no_more_tasks_than_it_must(desk: SideDesk, name: str, values: str, rows: int) -> None:
    desk.script(f"PREPARE hot AS {TEXTS[name]}")
    called = f"hot({values})" if values else "hot"
    [[report]] = desk.sql(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {called}")
    [top] = json.loads(str(report))
    assert read(top["Plan"]) == rows


def test_orphans_are_found_among_the_active_sessions_alone(desk: SideDesk) -> None:
    desk.script(f"PREPARE hot AS {TEXTS['orphans']}")
    [[report]] = desk.sql("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE hot(6000000, 1000)")
    [top] = json.loads(str(report))
    assert read(top["Plan"], "sessions") == 500
    assert read(top["Plan"], "servers") <= 500


def read(step: Step, table: str = "tasks") -> int:
    """How many rows of the table the step read, with those below it."""
    own = 0
    if step.get("Relation Name") == table:
        own = int(float(str(step["Actual Rows"])) * int(str(step["Actual Loops"]))) + int(
            str(step.get("Rows Removed by Filter", 0))
        )
    below = step.get("Plans", [])
    assert isinstance(below, list)
    return own + sum(read(one, table) for one in below)
