"""`inferpool replay`: queues tasks that ended without an answer once more."""

import asyncio

import typer

from inferpool.cli.acted import Act, TasksArgument
from inferpool.cli.exits import EXIT_CODES
from inferpool.cli.output import OutputFlag
from inferpool.cli.remote import ServerFlag, TokenFlag
from inferpool.client.native import NativeClient
from inferpool.settings import load

app = typer.Typer()


@app.command(
    "replay",
    epilog="Examples:\n\n$ inferpool replay 0198f2a0-7c11-7d3e-8f7a-5f2f6f0d9f11\n\n"
    "$ inferpool get tasks --status error -o name | xargs inferpool replay\n\n" + EXIT_CODES,
)
def replay(tasks: TasksArgument, output: OutputFlag = None, server: ServerFlag = None, token: TokenFlag = None) -> None:
    """Queue tasks that ended in error, or were cancelled, again; their history is kept, their tries begin anew."""
    settings = load({"server": server, "token": token}).shared
    asyncio.run(Act(NativeClient.replay, "is queued again").run(settings, tasks, output))
