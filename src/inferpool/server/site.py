"""What every handler works with, with the shape that handlers have."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from inferpool.dispatch.service import Dispatch
from inferpool.server.options import ServerOptions
from inferpool.server.request import Reply, Request


class Site(msgspec.Struct, frozen=True):
    """The use cases with the options; `document` is what `/openapi.json` answers."""

    dispatch: Dispatch
    options: ServerOptions
    document: bytes = b"{}"


Handler: TypeAlias = Callable[[Site, Request], Awaitable[Reply | None]]
"""Answers a request: by its reply, or by None when it has sent a stream itself. What it raises becomes a problem."""
