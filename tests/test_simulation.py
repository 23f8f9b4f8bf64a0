"""Stories of the whole system under faults: every seed must run clean, every seed must replay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.story import run

ROOT = Path(__file__).parents[1]
SEEDS = 300
LIMIT_S = 280


def test_hundreds_of_seeds_run_clean() -> None:
    """In a process of its own: whole, without the tracing of coverage, under the hash seed that replays ask for."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    played = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", str(SEEDS), "--jobs", "1"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    assert f"{SEEDS} seeds in " in played.stdout
    assert "every seed ran clean" in played.stdout


@pytest.mark.parametrize("seed", [3, 8, 21])
def test_a_seed_replays_exactly(seed: int) -> None:
    first, second = run(seed), run(seed)
    assert first.hash == second.hash
    assert first.steps == second.steps
    assert first.breaches == []
    assert first.trace == second.trace


def test_a_story_reaches_the_verbs_of_the_law() -> None:
    seen = {verb for seed in range(30, 42) for verb in run(seed).verbs}
    assert {"claim", "start", "complete", "retry", "revert", "give_back", "cancel", "fail", "ready", "adopt"} <= seen
