"""The processes of a journey on loopback: engine, server, workers."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.journeys.processes import Program

ROOT: Final = Path(__file__).parents[2]
POOL: Final = "words"
"""The scripted engine's model, hence the pool."""
CALLERS: Final = 20
"""Calls at once of an official client, slots of their worker."""
QUICK: Final = {
    "grace_s": "2",
    "poll_s": "0.1",
    "beat_s": "0.5",
    "ping_s": "0.5",
    "heartbeat_s": "0.5",
    "silence_s": "4",
}
"""Server settings that shorten every wait of a journey."""


class Fleet:
    """The processes of one journey; their files lie in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "inferpool.db"
        self.engine: Program | None = None
        self.engine_url = ""
        self.server: Program | None = None
        self.server_url = ""
        self._port = 0
        self.programs: list[Program] = []

    async def _start(self, name: str, *arguments: str, settings: Mapping[str, str] = {}) -> Program:
        environment = {f"INFERPOOL_{key.upper()}": value for key, value in settings.items()}
        program = await Program.start(name, *arguments, environment=environment, folder=self.folder)
        self.programs.append(program)
        return program

    async def start_engine(self) -> Program:
        """The scripted engine: on a free port at first, on the same one ever after. It answers when this returns."""
        port = self.engine_url.rpartition(":")[2] or "0"
        arguments = ("-m", "tests.engines.scripted", "--port", port, "--model", POOL)
        environment = {"PYTHONPATH": str(ROOT)}
        return await self._answering(
            await Program.start("engine", *arguments, environment=environment, folder=self.folder)
        )

    async def start_real_engine(self, interpreter: Path) -> Program:
        """The engine of `examples/`, under an interpreter that has its packages. It answers when this returns."""
        script = str(ROOT / "examples" / "engine.py")
        return await self._answering(
            await Program.start(
                "engine", script, "--port", "0", environment={}, folder=self.folder, interpreter=str(interpreter)
            )
        )

    async def _answering(self, engine: Program) -> Program:
        self.programs.append(engine)
        line = await engine.says("engine ready at ")
        self.engine, self.engine_url = engine, line.rpartition(" ")[2].removesuffix("/v1")
        return engine

    async def start_server(self, **settings: str) -> Program:
        """The server: on a free port at first, on the same one ever after. It answers when this returns."""
        flags = ("serve", "--port", str(self._port), "--database-url", self.database_url)
        self.server = await self._start("server", "-m", "inferpool", *flags, settings=QUICK | settings)
        line = await self.server.says("server ready at ")
        self.server_url = line.rpartition(" ")[2]
        self._port = int(self.server_url.rpartition(":")[2])
        return self.server

    async def start_worker(
        self,
        name: str = "box",
        *,
        slots: int = 4,
        linked: bool = True,
        via: str | Sequence[str] = "",
        **settings: str,
    ) -> Program:
        """A worker beside the scripted engine; it has its channel when this returns (unless `linked` is false).

        `via`: where it finds the server, if not at the server's own address; several are tried in turn.
        """
        servers = [via or self.server_url] if isinstance(via, str) else via
        ways = [word for one in servers for word in ("--server", one)]
        flags = (*ways, "--engine", self.engine_url, "--name", name, "--slots", str(slots))
        own = {"state_folder": str(self.folder / "state"), **settings}
        program = await self._start(name, "-m", "inferpool", "worker", *flags, settings=own)
        if linked:
            await program.says("linked to the server")
        return program

    async def start(self, *, slots: int = 4, **settings: str) -> None:
        """Engine, server (with these settings), one worker."""
        await asyncio.gather(self.start_engine(), self.start_server(**settings))
        await self.start_worker(slots=slots)

    @property
    def database_url(self) -> str:
        """What the server is told."""
        return str(self.database)

    async def kill_server(self) -> None:
        """`kill -9` of the server."""
        assert self.server is not None
        await self.server.kill()

    async def leave(self) -> None:
        """SIGTERM to whoever still runs, workers first: each must end in order."""
        running = [program for program in self.programs if program.code is None and program is not self.engine]
        for program in sorted(running, key=lambda program: program is self.server):
            program.signal(signal.SIGTERM)
            assert await program.ended() == 0, program.lines[-5:]

    async def close(self) -> None:
        """End everything that still runs."""
        for program in reversed(self.programs):
            await program.kill()
