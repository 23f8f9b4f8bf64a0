"""Runs one client command against the server that the settings name."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias, TypeVar

import typer

from inferpool.client.native import NativeClient
from inferpool.settings import load

T = TypeVar("T")

ServerFlag: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--server", metavar="URL", help="the server's address (default: http://127.0.0.1:8010); several are equal"
    ),
]
LimitFlag: TypeAlias = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="at most this many")]


def ask(server: list[str] | None, use: Callable[[NativeClient], Awaitable[T]]) -> T:
    """What `use` gives of a client whose connections are closed afterwards. Raises `SettingError` beside its errors."""
    return asyncio.run(_asked(load({"server": server}).shared.server, use))


async def _asked(urls: list[str], use: Callable[[NativeClient], Awaitable[T]]) -> T:
    from inferpool.client.caller import ServerCaller
    from inferpool.client.http import AiohttpTransport

    transport = AiohttpTransport()
    try:
        return await use(NativeClient(ServerCaller(transport, urls)))
    finally:
        await transport.close()
