"""Claims about systems without `fcntl`, `resource`, `uvloop` (Windows): the programs import, start, end there."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCKED = "import sys; sys.modules.update(dict.fromkeys(['fcntl', 'resource', 'uvloop'])); "
RUN = BLOCKED + "from inferpool.cli.app import main; main()"
EVERYTHING = (
    BLOCKED
    + """
import importlib, pkgutil, inferpool
for found in pkgutil.walk_packages(inferpool.__path__, "inferpool."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
assert [name for name in ("fcntl", "resource", "uvloop") if sys.modules.get(name)] == []
"""
)


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A program on such a system, its error output readable; it is ended afterwards."""
    command = [sys.executable, "-c", RUN, *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_every_module_can_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", EVERYTHING], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_client_command_runs() -> None:
    command = [sys.executable, "-c", RUN, "get", "llms", "--server", "http://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "is `inferpool serve` running there?" in done.stderr


def test_a_worker_starts_locks_its_folder_and_ends_politely(tmp_path: Path) -> None:
    (tmp_path / "inferpool.toml").write_text('state_folder = "state"\nserver = ["http://127.0.0.1:9"]\n')
    flags = ("worker", "--engine", "http://127.0.0.1:9", "--name", "a")
    with started(tmp_path, *flags) as worker:
        assert worker.stderr is not None
        assert "waiting for the engine" in worker.stderr.readline()
        second = subprocess.run(
            [sys.executable, "-c", RUN, *flags], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        worker.terminate()
        assert worker.wait(60) == 0
    assert "another worker runs on" in second.stderr


def test_a_server_starts_and_ends_politely(tmp_path: Path) -> None:
    with started(tmp_path, "serve", "--port", "0", "--database-url", "store.db") as server:
        assert server.stdout is not None
        assert "ready at http" in server.stdout.readline()
        server.terminate()
        assert server.wait(60) == 0
