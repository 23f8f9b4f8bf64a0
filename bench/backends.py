"""The processes of a PostgreSQL on this machine, found by the one that started them."""

from pathlib import Path

from bench.machine import cpu_s, cpu_s_with_ended, on_cpu_s


def children(pid: int) -> list[int]:
    """The processes that this one started, which still run."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def whole_cpu_s(postmaster: int) -> float:
    """User plus system time of all the server's processes so far, those included that have ended."""
    return cpu_s_with_ended(postmaster) + sum(map(cpu_s, children(postmaster)))


def backends_cpu_s(postmaster: int, database: str) -> float:
    """User plus system time of the processes that serve the connections to that database now."""
    return sum(on_cpu_s(pid) for pid in children(postmaster) if database in _title(pid).split(" "))


def _title(pid: int) -> str:
    """What a server's process says of itself: `postgres: USER DATABASE WHERE WHAT`."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").strip("\0")
    except OSError:
        return ""
