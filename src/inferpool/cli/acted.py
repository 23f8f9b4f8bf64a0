"""Applies one verb to each of several tasks, says what came of it."""

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias

import typer

from inferpool.cli.complete import task_ids
from inferpool.cli.exits import ExitCode, complain
from inferpool.cli.output import Output, plain, print_value
from inferpool.cli.remote import asked
from inferpool.client.native import NativeClient
from inferpool.core.errors import InferpoolError
from inferpool.settings import SharedSettings
from inferpool.wire.tasks import InferenceTask

TasksArgument: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="TASK", help="the task's id (several: one each)", autocompletion=task_ids)
]
Verb: TypeAlias = Callable[[NativeClient, str], Awaitable[InferenceTask]]
"""Does it to the task of this id; gives the task afterwards. Raises the error that the server tells."""


class Act:
    """A verb in the words of the command line: `done` is what is said of a task, such as `cancelled`."""

    def __init__(self, verb: Verb, done: str) -> None:
        self._verb = verb
        self._done = done

    async def run(self, settings: SharedSettings, ids: list[str], output: Output | None) -> None:
        """Do it to each; those that refuse are told one by one. Raises `typer.Exit` when any did."""
        told: list[InferenceTask] = []
        for task_id in ids:
            try:
                told.append(await asked(settings, _One(self._verb, task_id)))
            except InferpoolError as error:
                complain(f"task {task_id}: {error}")
        self._print(told, output, one=len(ids) == 1)
        if len(told) < len(ids):
            raise typer.Exit(ExitCode.FAILED)

    def _print(self, told: list[InferenceTask], output: Output | None, *, one: bool) -> None:
        if output is Output.JSON or output is Output.YAML:
            if told:
                print_value(plain(told[0]) if one else {"data": plain(told)}, output)
            return
        for task in told:
            sys.stdout.write(task.id + "\n" if output is Output.NAME else f"task {task.id} {self._done}\n")


class _One:
    """The verb for one task."""

    def __init__(self, verb: Verb, task_id: str) -> None:
        self._verb = verb
        self._task_id = task_id

    async def __call__(self, client: NativeClient) -> InferenceTask:
        return await self._verb(client, self._task_id)
