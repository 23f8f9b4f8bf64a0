"""Completes names in the shell with what the server lists, quickly or not at all."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import typer

from inferpool.cli.remote import asked
from inferpool.client.native import NativeClient
from inferpool.client.transport import TransportError
from inferpool.core.errors import InferpoolError
from inferpool.settings import SettingError, SharedSettings, load

PATIENCE_S: Final = 2.0
_MOST: Final = 100

Listing: TypeAlias = Callable[[NativeClient], Awaitable[list[str]]]


def task_ids(context: typer.Context, incomplete: str) -> list[str]:
    """The newest tasks."""
    return _told(context, incomplete, _tasks)


def llm_names(context: typer.Context, incomplete: str) -> list[str]:
    """Llms."""
    return _told(context, incomplete, _llms)


def pool_names(context: typer.Context, incomplete: str) -> list[str]:
    """Pools."""
    return _told(context, incomplete, _pools)


def model_names(context: typer.Context, incomplete: str) -> list[str]:
    """What a call may name: pools, then llms."""
    return _told(context, incomplete, _pools) + _told(context, incomplete, _llms)


def session_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Sessions."""
    return _told(context, incomplete, _sessions)


def _told(context: typer.Context, incomplete: str, listing: Listing) -> list[str]:
    """Those that begin like this; none when the server does not tell: a shell is no place for an error."""
    given = context.params
    try:
        settings = load({"server": list(given.get("server") or []), "token": given.get("token")}).shared
        names = asyncio.run(_soon(settings, listing))
    except (InferpoolError, TransportError, SettingError, TimeoutError):
        return []
    return [name for name in names if name.startswith(incomplete)]


async def _soon(settings: SharedSettings, listing: Listing) -> list[str]:
    async with asyncio.timeout(PATIENCE_S):
        return await asked(settings, listing)


async def _tasks(client: NativeClient) -> list[str]:
    return [task.id for task in await client.tasks({}, _MOST)]


async def _llms(client: NativeClient) -> list[str]:
    return [llm.name for llm in await client.llms(_MOST)]


async def _pools(client: NativeClient) -> list[str]:
    return [pool.name for pool in await client.pools(_MOST)]


async def _sessions(client: NativeClient) -> list[str]:
    return [session.id for session in await client.sessions(_MOST)]
