"""`inferpool cancel`: ends a task that is no longer wanted."""

import sys
from functools import partial
from typing import Annotated

import typer

from inferpool.cli.exits import EXIT_CODES, fail
from inferpool.cli.remote import ServerFlag, TokenFlag, ask
from inferpool.client.native import NativeClient
from inferpool.core.lifecycle import Status

app = typer.Typer()


@app.command(
    "cancel",
    epilog="Examples:\n\n$ inferpool cancel 0198f2a0-7c11-7d3e-8f7a-5f2f6f0d9f11\n\n"
    "$ inferpool get tasks --status pending -o name | xargs -n1 inferpool cancel\n\n" + EXIT_CODES,
)
def cancel(
    task: Annotated[str, typer.Argument(metavar="TASK", help="the task's id")],
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """Cancel a task, whether it waits or runs; the worker that runs it stops its engine."""
    ended = ask(server, token, partial(NativeClient.cancel, task_id=task))
    if ended.status is not Status.CANCELLED:
        raise fail(f"task {ended.id} had ended before: {ended.status.value}")
    sys.stdout.write(f"task {ended.id} cancelled\n")
