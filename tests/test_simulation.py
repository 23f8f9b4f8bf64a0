"""Stories of the whole system under faults: every seed must run clean, every seed must replay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inferpool.core.ids import TaskId
from inferpool.core.stream import Verdict
from inferpool.dispatch.feed import Feed
from inferpool.dispatch.live import LiveSession
from inferpool.dispatch.net import Net
from inferpool.dispatch.scheduler import Scheduler
from inferpool.dispatch.slots import Held
from inferpool.dispatch.strand import Restarted, Seen, Strand
from inferpool.dispatch.watcher import Watcher
from inferpool.wire.sessions import Holding
from inferpool.worker.outbox import Outbox
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
    assert "servers: 200 seeds with 1, 75 seeds with 2, 25 seeds with 3" in played.stdout
    assert "every seed ran clean" in played.stdout


@pytest.mark.parametrize(("seed", "servers"), [(3, 1), (8, 1), (21, 1), (8, 2), (11, 3)])
def test_a_seed_replays_exactly(seed: int, servers: int) -> None:
    first, second = run(seed, servers), run(seed, servers)
    assert first.hash == second.hash
    assert first.steps == second.steps
    assert first.breaches == []
    assert first.trace == second.trace


def test_stories_reach_the_verbs_of_the_law() -> None:
    seen = {verb for seed in range(20) for verb in run(seed).verbs}
    assert {"claim", "start", "complete", "retry", "revert", "give_back", "cancel", "fail", "ready", "replay"} <= seen


# ---- what a simulation is worth: it must see a safeguard that is gone -----------------------------------------------


def takes_repeats(have: int, seq: int) -> Verdict:
    return Verdict.ACCEPT if seq <= have + 1 else Verdict.GAP


def hides_ends(outbox: Outbox) -> list[Holding]:
    return [entry for entry in HOLDING(outbox) if not entry.ended]


def tells_no_restart(watcher: Watcher) -> list[Seen]:
    return [seen for seen in TAKE(watcher) if not isinstance(seen, Restarted)]


def stops_nothing(scheduler: Scheduler, session: LiveSession, held: Held) -> None:
    """The cancel frame is lost, for ever."""


def wakes_nobody(strand: Strand) -> None:
    """The end of a task is news to nobody."""


async def looks_at_nothing(net: Net) -> None:
    """What a hint failed to tell is never found."""


def ignores_gaps(feed: Feed, task_id: TaskId, attempt: int, first_seq: int, payloads: list[str]) -> bool:
    strand = feed.find(task_id)
    have = 0 if strand is None or strand.attempt != attempt else len(strand.chunks)
    return RELAYED(feed, task_id, attempt, min(first_seq, have + 1), payloads)


RELAYED = Feed.relayed
HOLDING, TAKE = Outbox.holding, Watcher.take


@pytest.mark.parametrize(
    ("place", "sabotage"),
    [
        ("inferpool.dispatch.uplink.judge_seq", takes_repeats),
        ("inferpool.worker.outbox.Outbox.holding", hides_ends),
        ("inferpool.dispatch.feed.Watcher.take", tells_no_restart),
        ("inferpool.dispatch.scheduler.Scheduler.send_cancel", stops_nothing),
        ("inferpool.dispatch.strand.Strand.wake", wakes_nobody),
    ],
)
def test_a_safeguard_that_is_gone_is_seen(place: str, sabotage: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, sabotage)
    assert any(run(seed).breaches for seed in range(60))


@pytest.mark.parametrize(
    ("place", "sabotage"),
    [
        ("inferpool.dispatch.net.Net.tasks", looks_at_nothing),
        ("inferpool.dispatch.feed.Feed.relayed", ignores_gaps),
    ],
)
def test_a_safeguard_between_servers_that_is_gone_is_seen(
    place: str, sabotage: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, sabotage)
    assert any(run(seed, 2).breaches for seed in range(40))
