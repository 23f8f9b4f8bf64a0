"""Runs one client command against the server that the settings name."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Final, TypeAlias, TypeVar

import typer

from inferpool.cli.progress import progress
from inferpool.client.caller import ServerCaller
from inferpool.client.native import NativeClient
from inferpool.settings import SharedSettings, load

T = TypeVar("T")

MOMENT_S: Final = 1.0
"""What a person waits without a word."""

ServerFlag: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--server", metavar="URL", help="the server's address (default: http://127.0.0.1:8010); several are equal"
    ),
]
TokenFlag: TypeAlias = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", help="what to show the server (better given by INFERPOOL_TOKEN)"),
]
LimitFlag: TypeAlias = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="at most this many")]


def ask(server: list[str] | None, token: str | None, use: Callable[[NativeClient], Awaitable[T]]) -> T:
    """What `use` gives of a client whose connections are closed afterwards. Raises `SettingError` beside its errors."""
    return asyncio.run(_shown(load({"server": server, "token": token}).shared, use))


async def _shown(settings: SharedSettings, use: Callable[[NativeClient], Awaitable[T]]) -> T:
    """Ask; say for what one waits once that has taken a moment."""
    asking = asyncio.ensure_future(asked(settings, use))
    try:
        await asyncio.wait([asking], timeout=MOMENT_S)
        if not asking.done():
            with progress(f"waiting for {settings.server[0]}"):
                await asyncio.wait([asking])
    finally:
        asking.cancel()
    return await asking


async def asked(settings: SharedSettings, use: Callable[[NativeClient], Awaitable[T]]) -> T:
    """The same inside an event loop, for settings that are read."""
    async with calling(settings) as caller:
        return await use(NativeClient(caller))


@asynccontextmanager
async def calling(settings: SharedSettings) -> AsyncIterator[ServerCaller]:
    """What calls the server of these settings, by any of its APIs; its connections are closed afterwards."""
    from inferpool.client.http import AiohttpTransport

    transport = AiohttpTransport()
    try:
        yield ServerCaller(transport, settings.server, settings.token)
    finally:
        await transport.close()
