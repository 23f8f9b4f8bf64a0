"""Makes an exit code, with at most one line, of however a command ended."""

import asyncio
import os
import sys
from collections.abc import Callable

from typer.exceptions import Abort, TyperException

from inferpool.cli.exits import ExitCode, complain
from inferpool.cli.remedies import told
from inferpool.client.transport import TransportError
from inferpool.core.errors import InferpoolError
from inferpool.settings import SettingError


def outcome(command: Callable[[], object]) -> int:
    """Run it; gives its exit code. An error of ours, or of the machine, is one line, never a traceback."""
    try:
        ended = command()
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
