"""The command line as a whole: all its commands."""

import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Annotated

import typer

from inferpool.cli import (
    cancel,
    chat,
    database,
    delete,
    demo,
    describe,
    doctor,
    get,
    replay,
    serve,
    tail,
    token,
    up,
    worker,
)
from inferpool.cli.exits import EXIT_CODES, ExitCode
from inferpool.cli.outcome import outcome

app = typer.Typer(
    name="inferpool",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Start here:\n\n$ inferpool up\n\nor, apart, also on two machines:\n\n$ inferpool serve\n\n$ inferpool worker\n\n"
    "then point any OpenAI client at http://127.0.0.1:8010/v1.\n\n" + EXIT_CODES,
)
for group in (up, serve, worker):
    app.add_typer(group.app)
app.add_typer(get.app, name="get")
app.add_typer(describe.app, name="describe")
app.add_typer(delete.app, name="delete")
app.add_typer(token.app, name="token")
app.add_typer(database.app, name="database")
for group in (tail, chat, cancel, replay, doctor, demo):
    app.add_typer(group.app)


def _version(*, wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"inferpool {version('inferpool')}\n")
        raise typer.Exit(ExitCode.DONE)


@app.callback()
def inferpool(
    shown: Annotated[
        bool,
        typer.Option(
            "--version", help="print the version", callback=lambda value: _version(wanted=value), is_eager=True
        ),
    ] = False,
) -> None:
    """A durable queue between LLM callers and the machines that run the models."""


def run(arguments: Sequence[str]) -> int:
    """Run one command; gives its exit code."""
    return outcome(partial(app, list(arguments), prog_name="inferpool", standalone_mode=False))


def main() -> None:
    """The console command."""
    sys.exit(run(sys.argv[1:]))
