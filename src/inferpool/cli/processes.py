"""Starts the demo's processes, ends every one of them by its own id."""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from inferpool.core.errors import InferpoolError


class ProcessEnded(InferpoolError):
    """A process that should run has ended by itself."""


class Processes:
    """Every process by its name; leaving the context ends those that still run, in reverse order of their first start."""

    def __init__(self, folder: Path, polite_s: float = 5.0) -> None:
        """`polite_s`: how long a process has between SIGTERM and `kill -9` at the end."""
        self._folder = folder
        self._polite_s = polite_s
        self._running: dict[str, Process] = {}
        self._names: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in reversed(self._names):
            await self._end(name)

    async def start(self, name: str, command: Sequence[str]) -> int:
        """Start a process that writes to its own log in the folder; gives its id.

        It has a session of its own, so that a Ctrl-C of the terminal reaches the demo alone, which then ends it.
        """
        if name not in self._names:
            self._names.append(name)
        with self.log(name).open("ab") as log:
            self._running[name] = await asyncio.create_subprocess_exec(
                *command,
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._running[name].pid

    async def inferpool(self, name: str, *arguments: str) -> int:
        """Start this very program once more."""
        return await self.start(name, [sys.executable, "-m", "inferpool", *arguments])

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self._folder / f"{name}.log"

    async def kill(self, name: str) -> None:
        """`kill -9`, then wait until it is gone."""
        process = self._running.pop(name)
        process.kill()
        await process.wait()

    def check(self) -> None:
        """Raises `ProcessEnded` when one of them is gone, with the last line that it wrote."""
        for name, process in self._running.items():
            if process.returncode is not None:
                lines = self.log(name).read_text(errors="replace").splitlines() or ["it wrote nothing"]
                raise ProcessEnded(f"the {name} ended by itself (exit code {process.returncode}): {lines[-1]}")

    async def _end(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._polite_s):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
