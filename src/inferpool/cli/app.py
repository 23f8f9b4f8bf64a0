"""The command line as a whole: its commands, what becomes of their errors."""

import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from inferpool.cli import cancel, chat, delete, demo, describe, doctor, get, replay, serve, tail, token, up, worker
from inferpool.cli.exits import EXIT_CODES, ExitCode, complain
from inferpool.cli.remedies import told
from inferpool.client.transport import TransportError
from inferpool.core.errors import InferpoolError
from inferpool.settings import SettingError

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
    """Run one command; gives its exit code. An error of ours, or of the machine, is one line, never a traceback."""
    try:
        ended: object = app(list(arguments), prog_name="inferpool", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, asyncio.CancelledError, Abort):
        return ExitCode.STOPPED
    except BrokenPipeError:
        return ExitCode.FAILED
    except SystemExit as end:  # completion; also rich, where its reader has left
        return end.code if isinstance(end.code, int) else ExitCode.FAILED
    except (TyperException, SettingError) as error:
        if str(error):  # a command without its arguments has shown its help already
            complain(told(error))
        return ExitCode.USAGE
    except (InferpoolError, TransportError, OSError) as error:
        complain(told(error))
        return ExitCode.FAILED
    finally:
        _mute()
    return ended if isinstance(ended, int) else ExitCode.DONE


def _mute() -> None:
    """Where our reader has left, or its disk is full, what is still unwritten goes nowhere: no complaint at the exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main() -> None:
    """The console command."""
    sys.exit(run(sys.argv[1:]))
