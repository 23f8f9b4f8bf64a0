"""The processes of one run: each started here is ended here, by its pid, whatever happens."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.machine import ALL_CORES, cpu_s, on_cores, resident_mb

END_S: Final = 10.0
"""How long a process has for a polite end."""
ROOT: Final = Path(__file__).parents[1]


class Process:
    """One running program; what it says goes into a file."""

    def __init__(self, name: str, popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self.log = log
        self._popen = popen
        self.pid = popen.pid

    def cpu_s(self) -> float:
        """Its own user plus system time so far."""
        return cpu_s(self.pid)

    def resident_mb(self) -> float:
        """Memory in use."""
        return resident_mb(self.pid)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A context in which it stands still, takes no core."""
        self._popen.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._popen.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        self._popen.kill()
        self._popen.wait()

    def end(self) -> None:
        """End it politely, then at once. A second signal would be an order to hurry: one is sent."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(END_S)
            return
        self.kill()

    def check(self) -> None:
        """Raises `RuntimeError` with the end of its log when it is gone."""
        if self._popen.poll() is not None:
            raise RuntimeError(self._last_words())

    def wait(self, longest_s: float) -> None:
        """Wait for its own end. Raises `RuntimeError` when that is a failure, `TimeoutExpired`."""
        if self._popen.wait(longest_s) != 0:
            raise RuntimeError(self._last_words())

    def _last_words(self) -> str:
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
        return f"{self.name} ended with {self._popen.returncode}:\n{tail}"


class Fleet:
    """Starts processes; leaving the context ends those that run, the youngest first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._running:
            self._running.pop().end()

    def start(
        self, name: str, arguments: Sequence[str], cores: frozenset[int], settings: Mapping[str, str] | None = None
    ) -> Process:
        """Start `python ARGUMENTS` on the cores; no setting of this project but those given reaches it."""
        log = self.folder / f"{name}.log"
        plain = {key: value for key, value in os.environ.items() if not key.startswith("INFERPOOL_")}
        with log.open("ab") as out, on_cores(cores):
            popen = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**plain, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", **(settings or {})},
                cwd=self.folder,
            )
        process = Process(name, popen, log)
        self._running.append(process)
        return process

    def run(self, name: str, arguments: Sequence[str], longest_s: float = 600.0) -> bytes:
        """Run a program to its end on any core; gives the last line that it said. Raises `RuntimeError`."""
        process = self.start(name, arguments, ALL_CORES)
        process.wait(longest_s)
        self._running.remove(process)
        return (process.log.read_bytes().splitlines() or [b""])[-1]

    def end(self, process: Process) -> None:
        """End one of them before the others."""
        process.end()
        self._running.remove(process)

    def kill(self, process: Process) -> None:
        """Kill one of them."""
        process.kill()
        self._running.remove(process)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
