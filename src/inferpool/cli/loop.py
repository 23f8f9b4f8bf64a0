"""Runs a program in an event loop, in the fast one where it is installed."""

import asyncio
from collections.abc import Coroutine


def run_program(program: Coroutine[object, object, None]) -> None:
    """Run it to its end; there is no uvloop for Windows."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(program)
    else:
        uvloop.run(program)
