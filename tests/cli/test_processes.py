"""Claims about the demo's processes: none outlives it, one that dies by itself is told."""

import os
import sys
from pathlib import Path

import pytest

from inferpool.cli.processes import ProcessEnded, Processes
from inferpool.cli.stage import DemoFailed, Stage
from inferpool.client.transport import HttpRequest, TransportError
from tests.worker.memory import MemoryReply, MemoryTransport

pytestmark = pytest.mark.anyio

WAITING = "import signal, sys; print('ready', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)\nwhile True: signal.pause()"


def is_running(pid: int) -> bool:
    """Whether the process still exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def nowhere(request: HttpRequest) -> MemoryReply:
    """A network without anybody."""
    raise TransportError(f"nobody at {request.url}")


async def started(processes: Processes, stage: Stage, name: str, program: str) -> int:
    """The process, once it has written its first line."""
    pid = await processes.start(name, [sys.executable, "-c", program])
    log = processes.log(name)
    await stage.until(f"{name} is ready", Written(log))
    return pid


class Written:
    """Whether a file holds a whole line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __call__(self) -> bool:
        return self._path.exists() and "\n" in self._path.read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the processes write."""
    return tmp_path


async def test_every_process_ends_with_the_demo(folder: Path) -> None:
    async with Processes(folder, polite_s=0.2) as processes:
        stage = Stage(folder, processes, MemoryTransport(nowhere))
        pids = [
            await started(processes, stage, "polite", WAITING),
            await started(processes, stage, "stubborn", STUBBORN),
        ]
        assert all(is_running(pid) for pid in pids)
        killed = await started(processes, stage, "killed", WAITING)
        await processes.kill("killed")
        assert not is_running(killed)
        processes.check()
    assert not any(is_running(pid) for pid in pids)


async def test_a_process_that_ends_by_itself_is_told_with_its_last_words(folder: Path) -> None:
    async with Processes(folder) as processes:
        stage = Stage(folder, processes, MemoryTransport(nowhere))
        await processes.start("server", [sys.executable, "-c", "print('first'); print('last words'); exit(3)"])
        with pytest.raises(ProcessEnded, match=r"the server ended by itself \(exit code 3\): last words"):
            await stage.until("it writes what it never writes", Written(folder / "nothing"))


async def test_what_does_not_come_is_told(folder: Path) -> None:
    stage = Stage(folder, Processes(folder), MemoryTransport(nowhere), patience_s=0.1)
    with pytest.raises(DemoFailed, match="in vain until the server answers"):
        await stage.until("the server answers", Written(folder / "nothing"))
