"""`inferpool cancel`: ends tasks that are no longer wanted."""

import asyncio

import typer

from inferpool.cli.acted import Act, TasksArgument
from inferpool.cli.exits import EXIT_CODES
from inferpool.cli.output import OutputFlag
from inferpool.cli.remote import ServerFlag, TokenFlag
from inferpool.client.native import NativeClient
from inferpool.core.errors import Conflict
from inferpool.core.lifecycle import Status
from inferpool.settings import load
from inferpool.wire.tasks import InferenceTask

app = typer.Typer()


@app.command(
    "cancel",
    epilog="Examples:\n\n$ inferpool cancel 0198f2a0-7c11-7d3e-8f7a-5f2f6f0d9f11\n\n"
    "$ inferpool get tasks --status pending -o name | xargs inferpool cancel\n\n" + EXIT_CODES,
)
def cancel(tasks: TasksArgument, output: OutputFlag = None, server: ServerFlag = None, token: TokenFlag = None) -> None:
    """Cancel tasks, whether they wait or run; the worker that runs one stops its engine."""
    settings = load({"server": server, "token": token}).shared
    asyncio.run(Act(_cancel, "cancelled").run(settings, tasks, output))


async def _cancel(client: NativeClient, task_id: str) -> InferenceTask:
    """Cancel it. Raises `Conflict` for one that had ended."""
    ended = await client.cancel(task_id)
    if ended.status is not Status.CANCELLED:
        raise Conflict(f"it had ended before: {ended.status.value}")
    return ended
