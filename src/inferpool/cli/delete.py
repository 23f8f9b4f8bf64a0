"""`inferpool delete`: removes what has ended."""

import asyncio

import typer

from inferpool.cli.acted import Act, TasksArgument
from inferpool.cli.exits import EXIT_CODES
from inferpool.cli.output import OutputFlag
from inferpool.cli.remote import ServerFlag, TokenFlag
from inferpool.client.native import NativeClient
from inferpool.settings import load
from inferpool.wire.tasks import InferenceTask

app = typer.Typer(
    no_args_is_help=True, help="Remove tasks that have ended.", epilog=f"$ inferpool delete task ID\n\n{EXIT_CODES}"
)

_HELP = (
    "Examples:\n\n$ inferpool delete task 0198f2a0-7c11-7d3e-8f7a-5f2f6f0d9f11\n\n"
    "$ inferpool get tasks --status cancelled -o name | xargs inferpool delete task\n\n" + EXIT_CODES
)


@app.command("task", epilog=_HELP)
def task(tasks: TasksArgument, output: OutputFlag = None, server: ServerFlag = None, token: TokenFlag = None) -> None:
    """Remove tasks that have ended, with request, answer, history; one that still lives is refused: cancel it first."""
    settings = load({"server": server, "token": token}).shared
    asyncio.run(Act(_purge, "deleted").run(settings, tasks, output))


app.command("tasks", hidden=True, epilog=_HELP)(task)


async def _purge(client: NativeClient, task_id: str) -> InferenceTask:
    """Remove it; gives what it was."""
    ended = await client.task(task_id)
    await client.purge(task_id)
    return ended
