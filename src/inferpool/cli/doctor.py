"""`inferpool doctor`: asks a running set-up whether it works, a store whether it obeys the law."""

import asyncio
import sys
from collections import Counter
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from inferpool.cli.checkup import Checkup, Finding, State, room
from inferpool.cli.exits import EXIT_CODES, ExitCode
from inferpool.cli.output import Output, OutputFlag, plain, print_value
from inferpool.cli.progress import Meter, progress
from inferpool.cli.remote import ServerFlag, TokenFlag
from inferpool.settings import Settings, database, load
from inferpool.store.invariants import RULES, Rule, Stage

app = typer.Typer()

SHOWN: Final = 20
"""Breaches of one rule that are told one by one; the rest are counted."""


@app.command(
    "doctor",
    epilog="Examples:\n\n$ inferpool doctor\n\n$ inferpool doctor --server https://example.com --engine http://127.0.0.1:8000"
    "\n\n$ inferpool doctor --database-url sqlite:///var/lib/inferpool.db\n\n"
    + EXIT_CODES
    + " Whatever is not well is a failure.",
)
def doctor(
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url", metavar="URL", help="check this store (default: the server's own, if it is there)"
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", metavar="URL", help="look at this engine (default: at the usual ports)"),
    ] = None,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """Tell what is wrong with a set-up, each thing with its remedy; check that a store obeys the law of tasks.

    Of the set-up: can the server be reached, an engine, is a worker there, is a model published. Of the store: that every
    task stands where the law lets it stand, that nothing ended twice or vanished. It only reads, beside a running server
    too. --database-url alone checks the store alone; --server or --engine without it the set-up alone.
    """
    settings = load({"database_url": database_url, "engine": engine, "server": server, "token": token})
    told: list[Finding] = []
    if database_url is None or server or engine:
        told += asyncio.run(_check_up(settings, spoken=output is None))
    where = database(settings.serve.database_url)
    if database_url is not None or not (server or engine or (isinstance(where, Path) and not where.exists())):
        told += asyncio.run(_examine(where, spoken=output is None))
    if output is not None:
        _print(told, output)
    if any(finding.state is State.FAIL for finding in told):
        raise typer.Exit(ExitCode.FAILED)


def _print(told: list[Finding], output: Output) -> None:
    """The findings for a program; by `-o name` those alone that are not well."""
    if output is Output.JSON or output is Output.YAML:
        print_value({"data": plain(told)}, output)
        return
    for finding in told:
        if output is Output.WIDE:
            _say(finding)
        elif finding.state is not State.OK:
            sys.stdout.write(finding.check + "\n")


def _say(finding: Finding) -> None:
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    sys.stdout.write(f"{finding.state.value:<5} {finding.check:<8} {finding.says}{remedy}\n")


async def _check_up(settings: Settings, *, spoken: bool) -> list[Finding]:
    """Look at the running set-up."""
    from inferpool.client.http import AiohttpTransport

    server, engines = AiohttpTransport(), AiohttpTransport()
    try:
        told = await Checkup(settings, server, engines).run()
    finally:
        await engines.close()
        await server.close()
    for finding in told if spoken else ():
        _say(finding)
    return told


async def _examine(where: Path | str, *, spoken: bool) -> list[Finding]:
    """Check the store, tell each breach; gives a finding a rule."""
    from inferpool.compose import WallClock
    from inferpool.store.invariants import Survey
    from inferpool.store.migrate import check_store
    from inferpool.store.opening import looking_into, place

    found = Counter[str]()
    with looking_into(where, WallClock()) as connection:
        await check_store(connection, version("inferpool"))
        with progress("checking the store") as meter:
            survey = Survey(connection, watch=partial(_show_stage, meter))
            async for breach in survey.violations():
                found[breach.rule] += 1
                if spoken and found[breach.rule] <= SHOWN:
                    meter.say(f"BROKEN {breach.rule}: {breach.subject or place(where)}: {breach.detail}")
    if spoken:
        _tell_room(where)
        _tell_store(place(where), survey.tasks, found)
    told = [_rule(rule, found[rule.name]) for rule in RULES]
    return [*told, room(where)] if isinstance(where, Path) else told


def _show_stage(meter: Meter, stage: Stage) -> None:
    meter.at(stage.share, f"checking {stage.looks_at}" + (f": {stage.seen:,}" if stage.seen else ""))


def _tell_room(where: Path | str) -> None:
    """Say it where there is little."""
    if isinstance(where, Path) and room(where).state is not State.OK:
        _say(room(where))


def _rule(rule: Rule, count: int) -> Finding:
    if count:
        return Finding(rule.name, State.FAIL, f"{rule.says}: broken {count} times", rule.remedy)
    return Finding(rule.name, State.OK, rule.says)


def _tell_store(place: str, tasks: int, found: Counter[str]) -> None:
    for rule in RULES:
        count = found[rule.name]
        state = f"broken {count} times; {rule.remedy}" if count else "ok"
        sys.stdout.write(f"{rule.name:<17} {rule.says}: {state}\n")
    total = found.total()
    verdict = f"{total} breaches of the law" if total else "no breach of the law"
    sys.stdout.write(f"{tasks} tasks checked in {place}: {verdict}\n")
