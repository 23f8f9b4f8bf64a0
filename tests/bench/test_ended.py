"""The history that some rows begin with."""

from pathlib import Path

import pytest

from bench.ended import ended_id, fill
from bench.opened import create, opened
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status

ROWS = 3
WEEK_US = 7 * 86_400_000_000


@pytest.mark.anyio
async def test_an_ended_row_is_a_whole_task_that_a_sweep_deletes_oldest_first(tmp_path: Path) -> None:
    await create(tmp_path / "db")
    fill(tmp_path / "db", ROWS, owners=2, age_s=8 * 86_400)
    async with opened(tmp_path / "db") as store:
        reader = store.pair.reader
        row = await reader.row(TaskId(ended_id(0)))
        assert row is not None
        assert row.status is Status.COMPLETED
        assert len(await reader.attempts(row.id)) == 1
        assert await store.pair.store.delete_ended(WEEK_US, ROWS - 1) == ROWS - 1
        assert [await reader.row(TaskId(ended_id(number))) is None for number in range(ROWS)] == [True, True, False]
