"""Applies one verb to each of several tasks, says what came of it."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Annotated, Final, TypeAlias

import typer

from inferpool.cli.complete import task_ids
from inferpool.cli.exits import ExitCode, complain
from inferpool.cli.output import Output, plain, print_value
from inferpool.cli.progress import SILENT, progress
from inferpool.cli.remedies import told
from inferpool.cli.remote import calling
from inferpool.client.native import NativeClient
from inferpool.core.errors import InferpoolError
from inferpool.settings import SharedSettings
from inferpool.wire.tasks import InferenceTask

TasksArgument: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="TASK", help="the task's id (several: one each)", autocompletion=task_ids)
]
Verb: TypeAlias = Callable[[NativeClient, str], Awaitable[InferenceTask]]
"""Does it to the task of this id; gives the task afterwards. Raises the error that the server tells."""

FEW: Final = 10
"""Tasks that need no bar."""


class Act:
    """A verb in the words of the command line: `done` is what is said of a task, such as `cancelled`."""

    def __init__(self, verb: Verb, done: str) -> None:
        self._verb = verb
        self._done = done

    async def run(self, settings: SharedSettings, ids: list[str], output: Output | None) -> None:
        """Do it to each, telling each at once; those that refuse are told one by one. Raises `typer.Exit` when any did."""
        whole = output is Output.JSON or output is Output.YAML
        done: list[InferenceTask] = []
        async with calling(settings) as caller:
            client = NativeClient(caller)
            with progress(f"{len(ids)} tasks") if len(ids) > FEW else nullcontext(SILENT) as meter:
                for place, task_id in enumerate(ids):
                    meter.at(place / len(ids), f"{place} of {len(ids)} tasks")
                    try:
                        done.append(await self._verb(client, task_id))
                    except InferpoolError as error:
                        complain(f"task {task_id}: {told(error)}")
                    else:
                        if not whole:
                            meter.say(self._line(done[-1], output))
        if done and output is not None and whole:
            print_value(plain(done[0]) if len(ids) == 1 else {"data": plain(done)}, output)
        if len(done) < len(ids):
            raise typer.Exit(ExitCode.FAILED)

    def _line(self, task: InferenceTask, output: Output | None) -> str:
        return task.id if output is Output.NAME else f"task {task.id} {self._done}"
