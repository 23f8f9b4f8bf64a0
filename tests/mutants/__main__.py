"""Prints which test noticed which missing safeguard; fails when one is missed by its test.

python -m tests.mutants
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.mutants.safeguards import SAFEGUARDS, Safeguard
from tests.mutants.trial import Verdict, run

_JOBS: Final = max(2, os.cpu_count() or 2)


def main() -> int:
    """The exit code: 1 when any safeguard can be taken out unnoticed."""
    verdict, output = run((), sorted({safeguard.test for safeguard in SAFEGUARDS}))
    if verdict is not Verdict.GREEN:
        sys.stdout.write(f"{output}\nwith every safeguard in its place the named tests must be green\n")
        return 1
    missed = 0
    with ThreadPoolExecutor(_JOBS) as pool:
        for safeguard, (verdict, output) in zip(SAFEGUARDS, pool.map(_without, SAFEGUARDS), strict=True):
            sys.stdout.write(f"{verdict.value:<6} {safeguard.name}\n       {safeguard.test}\n")
            sys.stdout.flush()
            if verdict is not Verdict.RED:
                missed += 1
                sys.stdout.write(output)
    sys.stdout.write(f"{len(SAFEGUARDS)} safeguards taken out, {missed} of them unnoticed\n")
    return 1 if missed else 0


def _without(safeguard: Safeguard) -> tuple[Verdict, str]:
    return run(safeguard.edits, [safeguard.test])


if __name__ == "__main__":
    sys.exit(main())
