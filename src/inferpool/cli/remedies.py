"""Says of an error what went wrong, with what to do about it."""

import errno
from typing import Final

from typer.exceptions import TyperException

from inferpool.client.transport import TransportError
from inferpool.core.errors import InferpoolError, NotFound, ProtocolBroken, Unauthenticated

_AWAY: Final = "is `inferpool serve` running there? give another address by --server or INFERPOOL_SERVER"
_REMEDIES: Final[dict[type[InferpoolError], str]] = {
    NotFound: "`inferpool get` lists what there is",
    ProtocolBroken: "is --server (or INFERPOOL_SERVER) right? if it is, install the same release on both sides",
    Unauthenticated: "give a token by INFERPOOL_TOKEN or --token",
}
"""For what the server told without knowing that a person at a command line reads it."""
_OF_THE_MACHINE: Final = {
    errno.EADDRINUSE: "end what runs there (another inferpool?), or take another port by --port",
    errno.EACCES: "you may not do that there: choose another place, or ask for the right to it",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room on that disk",
}


def told(error: Exception) -> str:
    """What went wrong, with what to do."""
    if isinstance(error, TyperException):
        return _of_usage(error)
    if isinstance(error, TransportError):
        return f"{error}; {_AWAY}"
    if isinstance(error, OSError):
        return _of_the_machine(error)
    remedy = _REMEDIES.get(type(error)) if isinstance(error, InferpoolError) else None
    return str(error) if remedy is None or "--token" in str(error) else f"{error}; {remedy}"


def _of_usage(error: TyperException) -> str:
    """The command's own help is the remedy."""
    command = getattr(getattr(error, "ctx", None), "command_path", "inferpool")
    return f"{error.format_message().replace('Value error, ', '')} ({command} --help tells more)"


def _of_the_machine(error: OSError) -> str:
    said = " ".join(part for part in (error.filename, error.strerror or str(error)) if isinstance(part, str))
    remedy = _OF_THE_MACHINE.get(error.errno or 0)
    return f"{said}; {remedy}" if remedy else said
