"""The restart: from kill -9 to serving again, what waits finishes without help."""

import asyncio
import time
from typing import Final

import msgspec

from bench.connection import get, post
from bench.effort import Effort
from bench.fleet import Fleet
from bench.load import ask_in_turn, ask_once
from bench.report import Figure
from bench.script import Wish, request_body
from bench.world import Plan, World, reachable, world

NAME: Final = "restart"
TASKS: Final = 400
DELAY_MS: Final = 300
LONGEST_S: Final = 120.0


class _Made(msgspec.Struct):
    id: str


class _Row(msgspec.Struct):
    status: str


async def measure(fleet: Fleet, effort: Effort) -> list[Figure]:
    """Rounds of a kill in the middle of the work, with many rows that wait for a pool that nobody serves."""
    path = fleet.folder / "restart.db"
    command = ["-m", "bench.fill", "--database", str(path), "--pool", "elsewhere"]
    fleet.run("fill", [*command, "--tasks", str(effort.restart_rows), "--flows", str(effort.flows)])
    serving, finishing = [], []
    async with world(fleet, Plan(name="restart", database=path, slots=64)) as made:
        for _ in range(effort.rounds):
            ids = await _queue(made)
            made.kill_server()
            killed = time.perf_counter()
            made.restart_server()
            await reachable(made.server, made.port, "/readyz")
            serving.append(time.perf_counter() - killed)
            await _all_complete(made, ids)
            finishing.append(time.perf_counter() - killed)
    what = f"with {effort.restart_rows} rows"
    return [
        Figure(row=NAME, name=f"kill -9 to serving, {what}", unit="s", values=serving, target=2),
        Figure(row=NAME, name=f"kill -9 to the end of {TASKS} waiting tasks", unit="s", values=finishing),
    ]


async def _queue(made: World) -> list[str]:
    """Accepted tasks, some of which run when the server dies."""
    bodies = [b'{"request":' + request_body(Wish(number, 0, DELAY_MS)) + b"}" for number in range(TASKS)]
    replies = await ask_in_turn(made.port, [post("/api/v1/inference-tasks", body) for body in bodies], 32)
    return [msgspec.json.decode(reply.body, type=_Made).id for reply in replies]


async def _all_complete(made: World, ids: list[str]) -> None:
    """Wait for each. Raises `RuntimeError` for one that ended otherwise, `TimeoutError`."""
    async with asyncio.timeout(LONGEST_S):
        for task_id in ids:
            while (status := await _status(made, task_id)) not in {"completed", "error", "cancelled"}:
                made.server.check()
            if status != "completed":
                raise RuntimeError(f"the task {task_id} ended as {status}")


async def _status(made: World, task_id: str) -> str:
    reply = await ask_once(made.port, get(f"/api/v1/inference-tasks/{task_id}?wait=10"))
    return msgspec.json.decode(reply.body, type=_Row).status
