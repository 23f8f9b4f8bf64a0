"""Plays one seed at full length, prints what happened.

python -m tests.chaos --seed 7 --faults 64 --tasks 2000
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from tests.chaos.options import Options
from tests.chaos.plan import Kind
from tests.chaos.run import Report, chaos

EACH: Final = 5
"""How often each kind of fault must come, at least."""
REFUSALS: Final = (
    'inferpool_attempts_refused_total{reason="stale"}',
    'inferpool_requests_declined_total{code="session_inactive"}',
)
"""What counts what came too late."""
RECOVERED: Final = 0.95
"""The share of the rate before the first fault that must be back after the last."""


def main() -> int:
    """The exit code: 1 when the run proved less than it should; what is wrong with a task raises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--faults", type=int, default=64)
    parser.add_argument("--tasks", type=int, default=2000)
    asked = parser.parse_args()
    say(f"seed {asked.seed}")
    options = Options(seed=asked.seed, faults=asked.faults, tasks=asked.tasks)
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(chaos(Path(folder), options, say))
    for line in [*lines_of(report), *shortcomings(report)]:
        say(line)
    return int(bool(shortcomings(report)))


def shortcomings(report: Report) -> list[str]:
    """What keeps the run from counting."""
    kinds = Counter(one.fault.kind for one in report.struck)
    refused = [report.counts[name] for name in REFUSALS]
    found = {
        f"the rate is not back to {RECOVERED:.0%}": report.after < RECOVERED * report.before,
        "a fault found nothing under way": min(one.under_way for one in report.struck) == 0,
        f"a kind of fault came less than {EACH} times": min(kinds[kind] for kind in Kind) < EACH,
        "nothing that came too late was refused": sum(refused) == 0,
    }
    return [f"FAILED: {what}" for what, holds in found.items() if holds]


def lines_of(report: Report) -> list[str]:
    """The report, for a person."""
    kinds = Counter(one.fault.kind for one in report.struck)
    return [
        f"seed {report.seed}: {len(report.struck)} faults in {report.took_s:.0f} s, each with tasks under way",
        *[f"  {kind}: {kinds[kind]}, tasks at workers {_held(report, kind)}" for kind in Kind],
        f"{report.accepted} tasks accepted, each with one end; status, attempts, tries, how many:",
        *[f"  {' '.join(map(str, line))}" for line in report.tries],
        f"{report.streams} streams over {report.connections} connections, {report.resets} begun anew, nothing seen twice",
        f"{report.dropped} notifications dropped",
        *[f"  {name} {number}" for name, number in sorted(report.counts.items()) if name.startswith("inferpool_")],
        f"callers were told: {dict(report.told.most_common())}",
        f"ended a second: {report.before:.1f} before the first fault, {report.after:.1f} after the last",
    ]


def _held(report: Report, kind: Kind) -> str:
    held = [one.held for one in report.struck if one.fault.kind is kind]
    return f"{min(held, default=0)} to {max(held, default=0)}"


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
