"""`inferpool tail`: follows a task's answer while it is made."""

import asyncio
import sys
from typing import Annotated, Final

import msgspec
import typer

from inferpool.cli.bodies import words_of
from inferpool.cli.complete import task_ids
from inferpool.cli.exits import EXIT_CODES, ExitCode, fail
from inferpool.cli.remote import ServerFlag, TokenFlag, asked
from inferpool.client.native import Chunk, End, Followed, NativeClient, Reset
from inferpool.core.lifecycle import Status
from inferpool.settings import load
from inferpool.wire.tasks import InferenceTask

app = typer.Typer()

PAUSE_S: Final = 0.5
"""Between two connections to a server that is away."""


@app.command(
    "tail",
    epilog="Examples:\n\n$ inferpool tail 0198f2a0-7c11-7d3e-8f7a-5f2f6f0d9f11\n\n"
    "$ inferpool tail --raw TASK > chunks.jsonl\n\n"
    + EXIT_CODES
    + " A task that ended without an answer is a failure.",
)
def tail(
    task: Annotated[str, typer.Argument(metavar="TASK", help="the task's id", autocompletion=task_ids)],
    raw: Annotated[bool, typer.Option("--raw", help="print each chunk as the engine sent it, a line each")] = False,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """Print a task's answer as it arrives, from its beginning, until it ends.

    A connection that breaks is taken up where it was. When an answer begins again on another worker, that is said on
    the error output.
    """
    printer = Printer(raw=raw)
    ended = asyncio.run(asked(load({"server": server, "token": token}).shared, printer.follow(task)))
    if ended.status is not Status.COMPLETED:
        fault = f"{ended.error.code.value}: {ended.error.message}" if ended.error else "cancelled"
        raise fail(f"task {ended.id} has no answer ({fault})", ExitCode.FAILED)


class Printer:
    """Writes what a stream brings; `chunks` counts the pieces of the attempt that is shown."""

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self._shown = False
        self._away = False
        self.chunks = 0

    def follow(self, task_id: str) -> "Following":
        """What prints the task's stream of a client that it is given."""
        return Following(self, task_id)

    def show(self, event: Followed) -> None:
        """Print one event."""
        self._away = False
        if isinstance(event, Chunk):
            self.chunks += 1
            self._write(event.data + "\n" if self._raw else _text(event.data))
        elif isinstance(event, Reset):
            self.chunks = 0
            sys.stdout.flush()
            sys.stderr.write(f"\n-- attempt {event.id.partition('-')[0]} begins the answer again --\n")
        else:
            self._end(event.task)

    async def pause(self) -> None:
        """The connection broke: say so, wait a moment."""
        if not self._away:
            sys.stdout.flush()
            sys.stderr.write("\n-- the connection broke; trying again until the server is back --\n")
        self._away = True
        await asyncio.sleep(PAUSE_S)

    def _end(self, task: InferenceTask) -> None:
        if self.chunks == 0 and task.status is Status.COMPLETED:
            body = response_body(task)
            self._write(body if self._raw else words_of(body) or body)
        if self._shown and (not self._raw or self.chunks == 0):
            self._write("\n")

    def _write(self, text: str) -> None:
        self._shown = True
        sys.stdout.write(text)
        sys.stdout.flush()


class Following:
    """One task's stream on its way to a printer."""

    def __init__(self, printer: Printer, task_id: str) -> None:
        self._printer = printer
        self._task_id = task_id

    async def __call__(self, client: NativeClient) -> InferenceTask:
        """Print the stream to its end; returns the task as it ended. Raises what stands against the first look at it."""
        await client.task(self._task_id)
        async for event in client.follow(self._task_id, None, self._printer.pause):
            self._printer.show(event)
            if isinstance(event, End):
                return event.task
        raise AssertionError  # the stream of a task ends with its end alone


def _text(payload: str) -> str:
    """The words of a chunk; the whole of one that is of no kind known here."""
    words = words_of(payload)
    return payload + "\n" if words is None else words


def response_body(task: InferenceTask) -> str:
    """The engine's body as text, empty where the task has none."""
    response = task.response
    if response is None or isinstance(response, msgspec.UnsetType):
        return ""
    if isinstance(response.body, msgspec.Raw):
        return bytes(response.body).decode()
    return "" if isinstance(response.body_base64, msgspec.UnsetType) else response.body_base64
