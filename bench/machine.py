"""What the machine tells: the kind of disk, how long a sync takes, a process's own time."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
ALL_CORES: Final = frozenset(os.sched_getaffinity(0))
"""What this run may use, as it was before anything was pinned."""


class NotADisk(Exception):
    """The folder would keep the database in memory: nothing measured there is true."""


def filesystem(folder: Path, mounts: str | None = None) -> str:
    """The kind of file system that holds the folder (`mounts`: the text of /proc/self/mounts)."""
    text = Path("/proc/self/mounts").read_text(encoding="utf-8") if mounts is None else mounts
    lines = [line.split() for line in text.splitlines()]
    holding = [(len(place), number, kind) for number, (_, place, kind, *_) in enumerate(lines) if _holds(place, folder)]
    return max(holding)[2]


def check_disk(folder: Path) -> str:
    """The kind of file system. Raises `NotADisk` where it lives in memory."""
    kind = filesystem(folder.resolve())
    if kind in IN_MEMORY:
        raise NotADisk(f"{folder} is on {kind}, which syncs nothing: give --folder on a disk")
    return kind


def sync_times(folder: Path, count: int = 50) -> list[float]:
    """Milliseconds that each of `count` appended and synced blocks of 4 KB took."""
    path = folder / "sync-probe"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    path.unlink()
    return times


def cpu_s(pid: int, stat: str | None = None) -> float:
    """User plus system time of the process with all its threads, in seconds (`stat`: the text of its stat file)."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8") if stat is None else stat
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def cpu_s_with_ended(pid: int, stat: str | None = None) -> float:
    """As `cpu_s`, with that of all its children that have ended (`stat`: the text of its stat file)."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8") if stat is None else stat
    return sum(map(int, text.rpartition(")")[2].split()[11:15])) / _TICKS_A_SECOND


def on_cpu_s(pid: int) -> float:
    """How long its first thread ran on a core, in seconds: as `cpu_s`, but to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9


def resident_mb(pid: int) -> float:
    """Memory that the process has in use, in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE / 2**20


@contextmanager
def on_cores(cores: frozenset[int]) -> Iterator[None]:
    """Processes that are started inside run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def server_cores() -> frozenset[int]:
    """The server has a core for itself, unless there is only one."""
    return frozenset({min(ALL_CORES)})


def other_cores() -> frozenset[int]:
    """What engine, workers, load share."""
    return ALL_CORES - server_cores() or ALL_CORES


def _holds(place: str, folder: Path) -> bool:
    # The kernel writes a space in a mount's name as an octal escape.
    return folder.is_relative_to(place.replace("\\040", " "))
