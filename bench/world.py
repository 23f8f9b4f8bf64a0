"""A server with its workers before a scripted engine, all of them real processes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from bench.connection import Address, Broken, get
from bench.engine import COUNT_PATH
from bench.fleet import Fleet, Process, free_port
from bench.load import ask_once
from bench.machine import other_cores, server_cores
from bench.script import MODEL

START_S: Final = 300.0
"""A million waiting tasks are read back at a start; on a busy machine that takes its time."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to start."""

    name: str
    workers: int = 1
    slots: int = 64
    database: Path | str | None = None
    """A file, or the URL of a PostgreSQL; None: a file of its own."""
    settings: dict[str, str] = {}
    engine_port: int | None = None
    """The engine of another world, to share; None: one of its own."""
    cores: frozenset[int] = frozenset()
    """Where the server runs; none: on the core that servers have for themselves."""
    sampled: bool = False
    """Whether server, workers run under the sampler (bench/sampled.py)."""


class World(msgspec.Struct, kw_only=True):
    """What runs."""

    fleet: Fleet
    plan: Plan
    port: int
    engine_port: int
    server: Process
    workers: list[Process]

    @property
    def address(self) -> Address:
        """Where to ask the server."""
        return Address(self.port)

    @property
    def engine_address(self) -> Address:
        """Where to ask the engine itself."""
        return Address(self.engine_port)

    def restart_server(self) -> None:
        """A new server process on the same store, at the same port."""
        self.server = start_server(self.fleet, self.plan, self.port)

    def kill_server(self) -> None:
        """As `kill -9`."""
        self.fleet.kill(self.server)


@asynccontextmanager
async def world(fleet: Fleet, plan: Plan) -> AsyncIterator[World]:
    """Start all of it, wait until the workers serve; ended at the end."""
    async with _engine(fleet, plan) as engine_port:
        port = free_port()
        server = start_server(fleet, plan, port)
        made = World(fleet=fleet, plan=plan, port=port, engine_port=engine_port, server=server, workers=[])
        try:
            await reachable(server, port, "/readyz")
            for number in range(plan.workers):
                made.workers.append(start_worker(made, number))
            await serving(made, llms_of(plan))
            yield made
        finally:
            for process in [*made.workers, made.server]:
                fleet.end(process)


@asynccontextmanager
async def _engine(fleet: Fleet, plan: Plan) -> AsyncIterator[int]:
    """The port of a scripted engine."""
    if plan.engine_port is not None:
        yield plan.engine_port
        return
    port = free_port()
    engine = fleet.start(f"{plan.name}-engine", ["-m", "bench.engine", "--port", str(port)], other_cores())
    await reachable(engine, port, "/v1/models")
    try:
        yield port
    finally:
        fleet.end(engine)


def start_server(fleet: Fleet, plan: Plan, port: int) -> Process:
    """`inferpool serve`, on its own core unless it is told where."""
    database = plan.database or fleet.folder / f"{plan.name}.db"
    command = [*_module(fleet, plan, "server"), "serve", "--port", str(port), "--database-url", str(database)]
    settings = {"INFERPOOL_LOG_LEVEL": "warning", **plan.settings}
    return fleet.start(f"{plan.name}-server", command, plan.cores or server_cores(), settings)


def start_worker(made: World, number: int) -> Process:
    """`inferpool worker`, on the other cores."""
    name = f"{made.plan.name}-{number}"
    command = [*_module(made.fleet, made.plan, name), "worker", "--name", name, "--slots", str(made.plan.slots)]
    command += ["--server", f"http://127.0.0.1:{made.port}", "--engine", f"http://127.0.0.1:{made.engine_port}"]
    settings = {"INFERPOOL_STATE_FOLDER": str(made.fleet.folder / "state"), "INFERPOOL_LOG_LEVEL": "warning"}
    return made.fleet.start(f"{name}-worker", command, other_cores(), settings)


def _module(fleet: Fleet, plan: Plan, name: str) -> list[str]:
    if not plan.sampled:
        return ["-m", "inferpool"]
    return ["-m", "bench.sampled", str(fleet.folder / f"{name}.stacks"), "inferpool"]


async def reachable(process: Process, port: int, path: str, longest_s: float = START_S) -> float:
    """Wait until the path answers (503: not yet); gives the seconds. Raises `TimeoutError`, `RuntimeError` when it ended."""
    began = time.perf_counter()
    while not await _answers(port, path):
        process.check()
        if time.perf_counter() - began > longest_s:
            raise TimeoutError(f"{process.name} did not answer {path} within {longest_s} s")
        await asyncio.sleep(0.005)
    return time.perf_counter() - began


def llms_of(plan: Plan) -> set[str]:
    """The names that its workers publish."""
    return {f"{MODEL}@{plan.name}-{number}" for number in range(plan.workers)}


async def serving(made: World, llms: set[str]) -> None:
    """Wait until its server knows these llms as active, be they of its own workers or not."""
    async with asyncio.timeout(START_S):
        while not llms <= await _active(made.port):
            for worker in made.workers:
                worker.check()
            await asyncio.sleep(0.02)


async def answered(made: World, at_least: int = 0) -> int:
    """How many answers the engine has given; waits until it were `at_least` so many. Raises `TimeoutError`."""
    async with asyncio.timeout(START_S):
        while True:
            count = int((await ask_once(made.engine_port, get(COUNT_PATH))).body)
            if count >= at_least:
                return count
            await asyncio.sleep(0.005)


async def _answers(port: int, path: str) -> bool:
    try:
        return (await ask_once(port, get(path))).status < 500
    except (OSError, Broken):
        return False


class _Llm(msgspec.Struct):
    name: str
    status: str


class _Llms(msgspec.Struct):
    data: list[_Llm]


async def _active(port: int) -> set[str]:
    reply = await ask_once(port, get("/api/v1/llms"))
    return {llm.name for llm in msgspec.json.decode(reply.body, type=_Llms).data if llm.status == "active"}
