"""Runs many cases on an open server, on one with tokens (with a token, without one); prints what was found.

python -m tests.fuzz --cases 10000
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from tests.fuzz.run import Ran, Wish, fuzz
from tests.journeys.site import opened_site

WISHES: Final = {
    "open": Wish(cases=0),
    "token": Wish(cases=0, closed=True, bearer=True),
    "caller": Wish(cases=0, closed=True, bearer=True, role="caller"),
    "publisher": Wish(cases=0, closed=True, bearer=True, role="publisher"),
    "without": Wish(cases=0, closed=True),
}
WHOLE: Final = ("open", "token")
"""The others, refused most of what they ask, get a tenth of the cases."""


async def one(wish: Wish) -> Ran:
    """A run on a site of its own."""
    with tempfile.TemporaryDirectory() as folder:
        async with opened_site(Path(folder)) as site:
            return await fuzz(site, wish)


def main() -> int:
    """The exit code: 1 when anything was found."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", type=int, default=10_000)
    options.add_argument("--seed", type=int)
    options.add_argument("--only", choices=WISHES)
    args = options.parse_args()
    found = 0
    for name, plain in WISHES.items():
        if args.only in {None, name}:
            cases = args.cases if name in WHOLE else args.cases // 10
            ran = asyncio.run(one(msgspec.structs.replace(plain, cases=cases, seed=args.seed)))
            report = ran.report
            if report.exit_code:
                sys.stdout.write(ran.printed)
            counts = report.test_cases
            sys.stdout.write(
                f"{name:<10} {counts.generated} cases in {report.running_time:.0f} s, {counts.unique_failures} failures, "
                f"{len(report.accepted())} operations succeeded, seed {report.seed}\n"
            )
            sys.stdout.write(f"           never: {sorted(set(report.valid_rates) - report.accepted())}\n")
            sys.stdout.flush()
            found += report.exit_code
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
