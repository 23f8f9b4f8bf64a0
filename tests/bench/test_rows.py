"""Every row on PostgreSQL runs to its end with a tiny size, gives figures that a report can show."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench import __main__ as program
from bench.effort import QUICK
from bench.fleet import Fleet
from bench.postgres import Postgres, running
from bench.rows import postgres_reads
from inferpool.server.routes import ROUTES

TINY = msgspec.structs.replace(
    QUICK,
    rounds=1,
    calls=60,
    streams=2,
    chunks=3,
    store_s=0.1,
    backlog=300,
    few=100,
    flows=10,
    backlog_calls=32,
    across_calls=2,
    jobs=8,
    waiting=300,
    ended=300,
    settle_s=0.01,
    late_s=0.01,
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that the server's own user may enter: pytest's are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="inferpool-bench-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def postgres(folder: Path) -> Iterator[Postgres]:
    """A server for these tests alone."""
    with running(folder, {}) as server:
        yield server


@pytest.mark.journey
@pytest.mark.anyio
@pytest.mark.parametrize("name", program.POSTGRES_ROWS)
async def test_a_row_on_postgres_runs_with_a_tiny_size(
    folder: Path, postgres: Postgres, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_reads, "COMMANDS", postgres_reads.COMMANDS[:1])
    with Fleet(folder) as fleet:
        figures = await program.POSTGRES_ROWS[name](fleet, TINY, postgres)
    assert figures
    assert [one.name for one in figures if not one.values] == []


@pytest.mark.anyio
async def test_the_store_is_measured_on_sqlite_beside_the_bare_driver(folder: Path) -> None:
    with Fleet(folder) as fleet:
        figures = await program.ROWS["store"](fleet, TINY)
    assert {one.name for one in figures} >= {"insert + complete", "of the bare sqlite3 driver"}


# What a worker says is asked by every row's own worker; a token would close the server to the other requests.
NOT_ASKED = {
    "POST /api/v1/sessions",
    "POST /api/v1/sessions/{session_id}/events",
    "GET /api/v1/sessions/{session_id}/requests/{task_id}/{attempt}",
    "GET /api/v1/sessions/{session_id}/channel",
    "DELETE /api/v1/sessions/{session_id}",
    "POST /api/v1/tokens",
}


def test_the_rows_read_are_counted_for_every_route() -> None:
    groups = [*postgres_reads.lists(TINY).values(), *postgres_reads.others(TINY, "a session").values()]
    asked = {ask.route for group in groups for ask in group}
    calls = {route.title for route in ROUTES if route.path.startswith("/v1/") and route.method == "POST"}
    assert asked >= {"POST /v1/chat/completions"}
    assert {route.title for route in ROUTES} - asked - calls == NOT_ASKED
