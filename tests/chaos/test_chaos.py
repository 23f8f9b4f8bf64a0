"""The short form of `make chaos`: every kind of fault once, at whatever the seed says."""

from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.options import Options
from tests.chaos.plan import Kind, draw
from tests.chaos.run import chaos

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

SHORT_RUN = Options(
    seed=20261124,
    faults=len(Kind),
    tasks=100,
    workers=2,
    callers=9,
    quiet_s=1.0,
    pace=8,
    settle_s=0.5,
    again_s=1.0,
    words=6,
    every_ms=30,
    overlap=0.8,
)


def test_each_kind_of_fault_is_drawn_as_often_as_any_other() -> None:
    drawn = Counter(fault.kind for fault in draw(Options(seed=7, faults=66)))
    assert set(drawn) == set(Kind)
    assert set(drawn.values()) == {8, 9}


def test_a_seed_draws_the_same_faults_always() -> None:
    assert draw(Options(seed=7)) == draw(Options(seed=7))
    assert draw(Options(seed=7)) != draw(Options(seed=8))


async def test_whatever_breaks_under_load_every_task_ends_once_no_stream_shows_anything_twice(tmp_path: Path) -> None:
    said: list[str] = []
    report = await chaos(tmp_path, SHORT_RUN, said.append)
    assert Counter(struck.fault.kind for struck in report.struck) == dict.fromkeys(Kind, 1)
    assert min(struck.under_way for struck in report.struck) > 0
    assert report.accepted >= SHORT_RUN.tasks
    assert report.dropped > 0
    assert (
        report.counts["inferpool_attempts_claimed_total"] >= report.accepted // 2
    )  # the rest was told by nobody in time
