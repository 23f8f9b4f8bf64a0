"""Real processes for journeys: started, awaited by what they print, stopped at a failpoint, killed by their id."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

PATIENCE_S = 30.0


class Program:
    """One child process; each line that it prints is kept and can be awaited."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.lines: list[str] = []
        self._process = process
        self._news = asyncio.Condition()
        loop = asyncio.get_running_loop()
        self._readers = [
            loop.create_task(self._read(stream)) for stream in (process.stdout, process.stderr) if stream is not None
        ]

    @classmethod
    async def start(
        cls,
        name: str,
        *arguments: str,
        environment: Mapping[str, str],
        folder: Path,
        interpreter: str = sys.executable,
    ) -> "Program":
        """Start `python -m …` in `folder`."""
        process = await asyncio.create_subprocess_exec(
            interpreter,
            *arguments,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return cls(name, process)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.returncode

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            async with self._news:
                self.lines.append(line.decode(errors="replace").rstrip())
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def says(self, text: str, *, after: int = 0) -> str:
        """The first line with `text` in it, from line number `after` on. Fails when the program ends without it."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            while True:
                for line in self.lines[after:]:
                    if text in line:
                        return line
                if all(reader.done() for reader in self._readers):
                    raise AssertionError(f"{self.name} ended without saying {text!r}: {self.lines[-5:]}")
                await self._news.wait()

    async def stops(self) -> None:
        """Until it stopped itself at its failpoint."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.to_thread(os.waitid, os.P_PID, self.pid, os.WSTOPPED)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    async def kill(self) -> None:
        """`kill -9`, then wait until it is gone."""
        if self.code is None:
            self._process.kill()
        await self.ended()

    async def ended(self) -> int:
        """Its exit code, once it ended by itself."""
        async with asyncio.timeout(PATIENCE_S):
            code = await self._process.wait()
            await asyncio.gather(*self._readers)
        return code
