"""Holds a file for one process, on every system that Python runs on.

The system gives a lock back when its process ends, however it ends, so that none is ever stale. Linux, macOS: flock(2).
Windows: its first byte is locked through the C runtime. Elsewhere: POSIX record locks.
"""

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

if sys.platform == "win32":
    import msvcrt

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:

    def _take(handle: int) -> None:
        """Lock the file; raises `OSError` when another process has it."""
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            os.lockf(handle, os.F_TLOCK, 0)

else:

    def _take(handle: int) -> None:
        """Lock the file; raises `OSError` when another process has it."""
        flock(handle, LOCK_EX | LOCK_NB)


PLAIN: Final[int] = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""To be added when a file is opened by `os.open`: not for children to inherit, nothing of it to be translated."""


_NOTE_AT: Final = 1
"""Where the holder's id stands: Windows lets nobody read the byte that is locked."""
_NOTE_SIZE: Final = 20


class FileHeld(Exception):
    """Another process holds the file; `holder` is its id where the file tells."""

    def __init__(self, path: Path, holder: int | None) -> None:
        super().__init__(str(path))
        self.holder = holder

    @property
    def by(self) -> str:
        """In words, to follow those for what holds it."""
        return "" if self.holder is None else f" (process {self.holder})"


class HeldFile:
    """A file that is held from construction to `release` or the end of the process. It stays where it is."""

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        """Raises `FileHeld`, or `OSError` when the file cannot be made."""
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | PLAIN, mode)
        try:
            _take(self._handle)
        except OSError as error:
            holder = self._holder()
            os.close(self._handle)
            raise FileHeld(path, holder) from error
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
            self._note(str(os.getpid()))

    def _note(self, text: str) -> None:
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, _NOTE_AT, os.SEEK_SET)
        os.write(self._handle, text.encode())

    def _holder(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            os.lseek(self._handle, _NOTE_AT, os.SEEK_SET)
            return int(os.read(self._handle, _NOTE_SIZE))
        return None

    def release(self) -> None:
        """Let the next process in."""
        os.close(self._handle)
