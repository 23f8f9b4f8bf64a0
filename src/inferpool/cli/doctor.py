"""`inferpool doctor`: asks a store whether it obeys the law."""

import asyncio
import sys
from collections import Counter
from typing import Annotated, Final

import typer

from inferpool.cli.exits import EXIT_CODES, ExitCode
from inferpool.settings import database_path, load

app = typer.Typer()

SHOWN: Final = 20
"""Breaches of one rule that are told one by one; the rest are counted."""


@app.command(
    "doctor",
    epilog="Examples:\n\n$ inferpool doctor\n\n$ inferpool doctor --database-url sqlite:///var/lib/inferpool.db\n\n"
    + EXIT_CODES
    + " A breach of the law is a failure.",
)
def doctor(
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", metavar="URL", help="the store to check (default: the server's own default)"),
    ] = None,
) -> None:
    """Check a store: that every task stands where the law lets it stand, that nothing ended twice or vanished.

    It only reads, beside a running server too. Each breach is told with its remedy.
    """
    path = database_path(load({"database_url": database_url}).serve.database_url)
    if asyncio.run(_examine(str(path))):
        raise typer.Exit(ExitCode.FAILED)


async def _examine(path: str) -> int:
    """Print what was checked with what was found; returns how many breaches there are."""
    from pathlib import Path

    from inferpool.compose import WallClock
    from inferpool.store.invariants import RULES, Survey
    from inferpool.store.sqlite_connection import connect_reader

    connection = connect_reader(Path(path), WallClock())
    try:
        survey = Survey(connection)
        found = Counter[str]()
        async for breach in survey.violations():
            found[breach.rule] += 1
            if found[breach.rule] <= SHOWN:
                sys.stdout.write(f"BROKEN {breach.rule}: {breach.subject or path}: {breach.detail}\n")
    finally:
        connection.close()
    for rule in RULES:
        count = found[rule.name]
        state = f"broken {count} times; {rule.remedy}" if count else "ok"
        sys.stdout.write(f"{rule.name:<17} {rule.says}: {state}\n")
    total = found.total()
    verdict = f"{total} breaches of the law" if total else "no breach of the law"
    sys.stdout.write(f"{survey.tasks} tasks checked in {path}: {verdict}\n")
    return total
