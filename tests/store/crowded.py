"""PostgreSQL servers whose disk a test fills, then empties."""

import os
import select
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.store.throwaway import NOBODY, Throwaway

MB = 2**20
VOLUME = 200 * MB
SPARE = {"data": 6 * MB, "log": MB // 2}
"""What a full volume has left: less than a segment of the server's log, or less than any file could need."""
LARGEST = {"data": 17 * MB, "log": MB}
"""How large a file may become on a full disk: a segment of the server's log (16 MB) fits, or it does not."""

SETTINGS = ("min_wal_size=32MB", "max_wal_size=64MB", "restart_after_crash=off")
"""A server that cannot write its log crashes, starts anew, finds that it still cannot, then ends: this one ends at once."""


class Crowded(ABC):
    """A server with a disk of its own."""

    server: Throwaway

    @abstractmethod
    def fill(self, what: str) -> None:
        """Leave no room for more `data`; or not even for the server's `log`."""

    @abstractmethod
    def make_room(self) -> None:
        """Let everything be as before."""

    def pid(self) -> int:
        """The server's process."""
        return int((self.server.folder / "data" / "postmaster.pid").read_text().split()[0])


class Volume(Crowded):
    """A small file system in memory, for the server alone."""

    def __init__(self, folder: Path) -> None:
        self.server = Throwaway(settings=SETTINGS, folder=folder)
        self._ballast = folder / "ballast"

    def fill(self, what: str) -> None:
        """See `Crowded`."""
        there = os.statvfs(self.server.folder)
        with self._ballast.open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, there.f_bavail * there.f_frsize - SPARE[what])

    def make_room(self) -> None:
        """See `Crowded`."""
        self._ballast.unlink()


class Limit(Crowded):
    """Processes that may not let a file grow: what a test can do that may not mount anything."""

    def __init__(self) -> None:
        self.server = Throwaway(settings=SETTINGS)

    def fill(self, what: str) -> None:
        """See `Crowded`."""
        self._limit_all(LARGEST[what])

    def make_room(self) -> None:
        """See `Crowded`."""
        self._limit_all("unlimited")

    def _limit_all(self, size: int | str) -> None:
        with suppress(FileNotFoundError):
            pid = self.pid()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for each in (str(pid), *children):
                _limit(each, size)


def _limit(pid: str, size: int | str) -> None:
    """By the process's own user, its hard limit left as it is: that needs no right. It may have ended meanwhile."""
    owner = NOBODY if os.geteuid() == 0 else None
    done = subprocess.run(
        ["prlimit", f"--pid={pid}", f"--fsize={size}:"],
        check=False,
        capture_output=True,
        text=True,
        user=owner,
        group=owner,
    )
    assert done.returncode == 0 or "No such process" in done.stderr, done.stderr


@contextmanager
def volume() -> Iterator[Crowded]:
    """A server on a volume of its own; where this process may not mount one, a server with a limit."""
    folder = Path(tempfile.mkdtemp(prefix="inferpool-volume-"))
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME}", "tmpfs", str(folder)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        folder.rmdir()
        with limit() as other:
            yield other
        return
    try:
        crowded = Volume(folder)
        yield crowded
        crowded.server.throw_away()
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def limit() -> Iterator[Crowded]:
    """A server with a limit."""
    crowded = Limit()
    yield crowded
    crowded.server.throw_away()


@contextmanager
def ending(pid: int) -> Iterator[Callable[[], bool]]:
    """Tells whether that process has ended."""
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    try:
        yield lambda: bool(poll.poll(0))
    finally:
        os.close(handle)
