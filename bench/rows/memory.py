"""The memory: an idle server, then one with callers that wait."""

import asyncio
import resource
from typing import Final

from bench.connection import Connection, connect, post
from bench.effort import Effort
from bench.fleet import Fleet
from bench.report import Figure
from bench.script import Wish, request_body
from bench.world import Plan, World, world

NAME: Final = "memory"
DELAY_MS: Final = 90_000
SPARE_FILES: Final = 500
BURST: Final = 200


async def measure(fleet: Fleet, effort: Effort) -> list[Figure]:
    """One idle server; then the same with its callers, all of whom hold a connection."""
    count = _allowed(effort.waiters)
    async with world(fleet, Plan(name="memory", slots=4)) as made:
        idle = made.server.resident_mb()
        callers = await _wait_in_line(made, count)
        waiting = made.server.resident_mb()
        made.kill_server()  # ten thousand cancelled tasks are no part of this row
        for task, connection in callers:
            task.cancel()
            connection.close()
        await asyncio.gather(*(task for task, _ in callers), return_exceptions=True)
        made.restart_server()
    return [
        Figure(row=NAME, name="idle server", unit="MB", values=[idle], target=90),
        Figure(row=NAME, name=f"{count} waiting callers", unit="MB", values=[waiting], target=600),
    ]


async def _wait_in_line(made: World, count: int) -> list[tuple["asyncio.Task[object]", Connection]]:
    callers: list[tuple[asyncio.Task[object], Connection]] = []
    for number in range(count):
        connection = await connect(made.port)
        request = post(made.address.path, request_body(Wish(number, 0, DELAY_MS)))
        callers.append((asyncio.create_task(_ask(connection, request)), connection))
        if number % BURST == 0:
            await _settled(made)
    await _settled(made)
    return callers


async def _ask(connection: Connection, request: bytes) -> object:
    return await connection.ask(request)


async def _settled(made: World) -> None:
    """Wait until the server has nothing to do: all that was asked stands in its line."""
    spent = -1.0
    while (now := made.server.cpu_s()) > spent:
        spent = now
        await asyncio.sleep(0.1)


def _allowed(callers: int) -> int:
    """How many of the callers the machine's limit of open files lets in; their connections are allowed from now on."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = callers + SPARE_FILES
    files = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return files - SPARE_FILES
