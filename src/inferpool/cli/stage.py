"""The stage of the demo: a real engine, a server, two workers, with what an onlooker asks of them."""

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from inferpool.cli.processes import Processes
from inferpool.client.caller import ServerCaller
from inferpool.client.native import NativeClient
from inferpool.client.transport import HttpRequest, Transport, TransportError
from inferpool.core.errors import InferpoolError, NotFound, Unavailable
from inferpool.core.llm import LlmStatus

T = TypeVar("T")

MODEL: Final = "smollm2-135m"
WORKERS: Final = ("office", "laptop")
GRACE_S: Final = 2
SLOTS: Final = 2
_LOOK_S: Final = 0.05


class DemoFailed(InferpoolError):
    """Something did not go as the demo says."""


class Stage:
    """All processes on free ports of this machine, their files in one folder."""

    def __init__(self, folder: Path, processes: Processes, transport: Transport, patience_s: float = 45.0) -> None:
        """`patience_s`: how long `until` waits."""
        self._patience_s = patience_s
        self.folder = folder
        self.processes = processes
        self.database = folder / "inferpool.db"
        self.engine_url = f"http://127.0.0.1:{free_port()}"
        self.server_port = free_port()
        self.server_url = f"http://127.0.0.1:{self.server_port}"
        self.native = NativeClient(ServerCaller(transport, [self.server_url]))
        self._transport = transport
        self.pids: dict[str, int] = {}

    def write_settings(self) -> None:
        """The file that all of them read in this folder."""
        (self.folder / "inferpool.toml").write_text(
            f'state_folder = "{self.folder}/state"\ngrace_s = {GRACE_S}\nlog_format = "json"\n'
        )

    async def start_engine(self, python: Path, script: Path) -> None:
        """A llama.cpp on one thread with slots for both workers, which has its model when this returns."""
        port = self.engine_url.rpartition(":")[2]
        threads, slots = ("--threads", "1"), ("--slots", str(SLOTS * len(WORKERS)))
        self.pids["engine"] = await self.processes.start(
            "engine", [str(python), str(script), "--port", port, *threads, *slots]
        )

        await self.until("the engine has loaded its model", self._loaded)

    async def start_server(self) -> None:
        """The server, which answers when this returns."""
        url = ("--port", str(self.server_port), "--database-url", str(self.database))
        self.pids["server"] = await self.processes.inferpool("server", "serve", *url)
        await self.until("the server answers", self._answers)

    async def start_workers(self) -> None:
        """Both workers, each with the model published when this returns."""
        for name in WORKERS:
            flags = ("--server", self.server_url, "--engine", self.engine_url, "--slots", str(SLOTS))
            self.pids[name] = await self.processes.inferpool(name, "worker", "--name", name, *flags)
        await self.until("both workers publish the model", self._published)

    async def until(self, what: str, look: Callable[[], Awaitable[T | None]]) -> T:
        """What `look` gives once it is neither None nor false.

        Raises `DemoFailed` when that takes too long, `ProcessEnded` when a process is gone.
        """
        deadline = time.monotonic() + self._patience_s
        while time.monotonic() < deadline:
            self.processes.check()
            try:
                found = await look()
            except (TransportError, Unavailable, NotFound):
                found = None
            if found:
                return found
            await asyncio.sleep(_LOOK_S)
        raise DemoFailed(f"waited {self._patience_s:g} s in vain until {what}")

    async def worker_of(self, session_id: str) -> str:
        """The name of the worker process whose session this is."""
        return (await self.native.session(session_id)).worker.name

    async def _loaded(self) -> bool:
        request = HttpRequest(method="GET", url=f"{self.engine_url}/v1/models", timeout_s=5, silence_s=5)
        async with self._transport.open(request) as reply:
            return reply.status == 200

    async def _answers(self) -> bool:
        await self.native.llms(1)
        return True

    async def _published(self) -> bool:
        active = [llm for llm in await self.native.llms(100) if llm.status is LlmStatus.ACTIVE]
        return len(active) == len(WORKERS)


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def say(line: str = "") -> None:
    """Tell the onlooker something."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def show(text: str) -> None:
    """Print a piece of an answer as it arrives."""
    sys.stdout.write(text)
    sys.stdout.flush()
