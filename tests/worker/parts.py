"""The rest of a worker's outside world: log, disk, randomness, time."""

from tests.worker.memory import Signal


class QuietLog:
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.signal = Signal()

    def info(self, event: str, /, **facts: object) -> None:
        self.said.append(event)
        self.signal.tell()

    warning = error = info


class MemoryDisk:
    """Files in memory; `full` refuses writes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.full = False
        self.broken = False
        self.signal = Signal()

    def names(self) -> list[str]:
        self._check(self.broken)
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        self._check(self.broken)
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name]

    def replace(self, name: str, content: bytes) -> None:
        self._check(self.full)
        self.files[name] = content
        self.signal.tell()

    def append(self, name: str, content: bytes) -> None:
        self._check(self.full)
        self.files[name] = self.files.get(name, b"") + content

    def remove(self, name: str) -> None:
        self._check(self.broken)
        self.files.pop(name, None)
        self.signal.tell()

    def _check(self, refuses: bool) -> None:
        if refuses:
            raise OSError(28, "No space left on device")


class HalfJitter:
    """Always in the middle."""

    def random(self) -> float:
        return 0.5


class FixedClock:
    """One moment of November 2023."""

    def now_us(self) -> int:
        return 1_700_000_000_000_000
