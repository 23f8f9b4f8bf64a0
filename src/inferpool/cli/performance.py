"""The performance of the demo from the first process to the last word."""

import asyncio
import signal
import tempfile
import time
from pathlib import Path

from inferpool.cli.acts import kill_the_server, kill_the_worker
from inferpool.cli.processes import Processes
from inferpool.cli.stage import DemoFailed, Stage, say
from inferpool.client.http import AiohttpTransport
from inferpool.compose import WallClock
from inferpool.store.invariants import check
from inferpool.store.sqlite_connection import connect_reader


async def perform(python: Path, script: Path) -> None:
    """Run both acts between the start of every process and its end."""
    acting = asyncio.current_task()
    if acting is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, acting.cancel)
    began = time.monotonic()
    transport = AiohttpTransport()
    with tempfile.TemporaryDirectory(prefix="inferpool-demo-") as folder:
        try:
            async with Processes(Path(folder)) as processes:
                stage = Stage(Path(folder), processes, transport)
                await _act(stage, python, script)
        finally:
            await transport.close()
    say(f"\nDone in {time.monotonic() - began:.0f} s. Every process of the demo has ended.")


async def _act(stage: Stage, python: Path, script: Path) -> None:
    stage.write_settings()
    say("== Setting the stage: a real engine (llama.cpp with SmolLM2 135M on one thread), one server, two workers\n")
    await stage.start_engine(python, script)
    await stage.start_server()
    await stage.start_workers()
    say("".join(f"  {name}: process {pid}\n" for name, pid in stage.pids.items()))
    say("== First: kill -9 the worker that answers, in the middle of its answer\n")
    await kill_the_worker(stage)
    say("\n== Second: kill -9 the server, with ten tasks waiting\n")
    await kill_the_server(stage)
    say("\n== Last: does the store obey its law? (inferpool doctor, beside the running server)\n")
    await _examine(stage)


async def _examine(stage: Stage) -> None:

    connection = connect_reader(stage.database, WallClock())
    try:
        breaches = await check(connection)
    finally:
        connection.close()
    if breaches:
        raise DemoFailed(f"the store breaks its law: {breaches[0].rule}, {breaches[0].detail}")
    say("  no breach of the law")
