"""`python -m tests.simulation`: plays seeds one after the other, on as many cores as it is told."""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from functools import partial

from tests.simulation.plan import draw
from tests.simulation.story import Result, run

HASH_SEED = "0"
"""The order of sets of strings depends on it, so each process uses the same."""


def main() -> int:
    """0 when every seed runs clean; the failing ones are printed with their plans, their traces."""
    asked = _arguments()
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    if asked.seed is not None:
        return _play_one(asked.seed, asked.servers, echo=asked.trace)
    return _play_many(asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes to play them on")
    parser.add_argument("--seed", type=int, help="play this one seed only")
    parser.add_argument("--servers", type=int, choices=(1, 2, 3), help="play each with so many; else it is a mixture")
    parser.add_argument("--trace", action="store_true", help="with --seed: print each event as it happens")
    parser.add_argument("--stop-after", type=int, default=5, help="end after so many failing seeds")
    return parser.parse_args()


def _play_one(seed: int, servers: int | None, *, echo: bool) -> int:
    say(str(draw(seed, servers)))
    result = run(seed, servers, echo=echo)
    say(f"{result.steps} steps, {result.commits} commits, {result.time_s:.1f} s of virtual time, trace {result.hash}")
    if result.breaches:
        say(report(result, with_trace=not echo))
    return int(bool(result.breaches))


def _play_many(asked: argparse.Namespace) -> int:
    seeds, jobs = range(asked.first, asked.first + asked.seeds), asked.jobs
    began = time.monotonic()
    verbs: Counter[str] = Counter()
    servers: Counter[int] = Counter()
    failed: list[int] = []
    steps = played = 0
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for result in pool.imap_unordered(partial(run, servers=asked.servers), seeds, chunksize=4):
            played += 1
            servers[result.servers] += 1
            steps += result.steps
            verbs.update(result.verbs)
            if result.breaches:
                failed.append(result.seed)
                say(report(result, with_trace=True))
            if played % 500 == 0:
                say(f"{played} of {len(seeds)} seeds, {time.monotonic() - began:.0f} s")
            if len(failed) >= asked.stop_after:
                break
    took = time.monotonic() - began
    say(f"{played} seeds in {took:.1f} s ({took * jobs / played:.3f} s of a core each), {steps} steps")
    say("servers: " + ", ".join(f"{count} seeds with {number}" for number, count in sorted(servers.items())))
    say("transitions: " + ", ".join(f"{verb} {count}" for verb, count in verbs.most_common()))
    say(f"failed: {sorted(failed)}" if failed else "every seed ran clean")
    return int(bool(failed))


def report(result: Result, *, with_trace: bool) -> str:
    """All that a person needs to look into a failing seed."""
    trace = f"\n--- the end of its trace\n{result.trace}" if with_trace else ""
    breaches = "\n".join(f"  {breach}" for breach in result.breaches)
    again = f"python -m tests.simulation --seed {result.seed} --servers {result.servers} --trace"
    plan = draw(result.seed, result.servers)
    return f"=== seed {result.seed} FAILED{trace}\n--- its plan\n{plan}\n--- breaches\n{breaches}\n--- again: {again}"


def say(text: str) -> None:
    """Tell the person who watches."""
    print(text, flush=True)  # noqa: T201 - this is a command


if __name__ == "__main__":
    sys.exit(main())
