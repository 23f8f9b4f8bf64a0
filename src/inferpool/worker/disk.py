"""The worker's folder on disk: one file a thing, each replaced as a whole.

Spec section 9: state and outbox files are readable by their owner alone; the folder is locked while a worker runs on it.
"""

import contextlib
import os
from pathlib import Path
from typing import Protocol

from inferpool.core.errors import Conflict
from inferpool.host.locks import PLAIN, FileHeld, HeldFile
from inferpool.worker.log import Log

_LOCK = "lock"
_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_SYNCS_FOLDERS = os.name == "posix"
"""Windows opens no folder as a file; its file system writes a rename down by itself."""


class Disk(Protocol):
    """Named files. Every method raises `OSError` when the disk refuses."""

    def names(self) -> list[str]:
        """Of all files that `replace` or `append` made."""
        ...

    def read(self, name: str) -> bytes:
        """The whole file. Raises `FileNotFoundError` where there is none."""
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Write the file anew: on return it is durable; a crash before leaves the old one."""
        ...

    def append(self, name: str, content: bytes) -> None:
        """Add to the file's end: all of it or nothing. Not durable against a power failure."""
        ...

    def remove(self, name: str) -> None:
        """Remove the file; nothing where there is none."""
        ...


class StateFolder:
    """A folder of the real file system, locked from construction to `close` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Raises `Conflict` when another process holds the folder, `OSError` when it cannot be made."""
        path.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
        path.chmod(_PRIVATE_FOLDER)
        self._path = path
        try:
            self._lock = HeldFile(path / _LOCK, _PRIVATE_FILE)
        except FileHeld as error:
            raise Conflict(
                f"another worker runs on {path}{error.by}: stop it, or give this one another --name"
            ) from error
        self._sweep()

    def _sweep(self) -> None:
        """Remove what a crash left half-written: nobody asks for it by its name, so nobody else would."""
        for entry in self._path.iterdir():
            if entry.name[0] == ".":
                with contextlib.suppress(OSError):  # it is in nobody's way
                    entry.unlink()

    def close(self) -> None:
        self._lock.release()

    def names(self) -> list[str]:
        """See `Disk.names`; what a crash left half-written is not among them."""
        return sorted(entry.name for entry in self._path.iterdir() if entry.name != _LOCK and entry.name[0] != ".")

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def replace(self, name: str, content: bytes) -> None:
        fresh = self._path / f".{name}"
        try:
            _write(fresh, content)
            fresh.replace(self._path / name)
        except OSError:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                fresh.unlink(missing_ok=True)
            raise
        self._sync_folder()

    def append(self, name: str, content: bytes) -> None:
        handle = os.open(self._path / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | PLAIN, _PRIVATE_FILE)
        try:
            size = os.fstat(handle).st_size
            try:
                _write_all(handle, content)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)

    def _sync_folder(self) -> None:
        if not _SYNCS_FOLDERS:
            return
        handle = os.open(self._path, os.O_RDONLY | PLAIN)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | PLAIN, _PRIVATE_FILE)
    try:
        _write_all(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]


class PatientDisk:
    """A disk that may be full: what it refuses is said once, the caller goes on in memory to try again later."""

    def __init__(self, disk: Disk, log: Log) -> None:
        self._disk = disk
        self._log = log
        self._refused = False

    def names(self) -> list[str]:
        """As `Disk.names`; none when the disk cannot be read."""
        try:
            return self._disk.names()
        except OSError as error:
            self._trouble(error)
            return []

    def read(self, name: str) -> bytes | None:
        """The file; None where there is none, or none that can be read."""
        try:
            return self._disk.read(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._trouble(error)
            return None

    def replace(self, name: str, content: bytes) -> bool:
        """Whether the file is durable now."""
        try:
            self._disk.replace(name, content)
        except OSError as error:
            return self._trouble(error)
        return self._fine()

    def append(self, name: str, content: bytes) -> bool:
        """Whether it was added."""
        try:
            self._disk.append(name, content)
        except OSError as error:
            return self._trouble(error)
        return self._fine()

    def remove(self, name: str) -> None:
        try:
            self._disk.remove(name)
        except OSError as error:
            self._trouble(error)

    def _trouble(self, error: OSError) -> bool:
        if not self._refused:
            self._refused = True
            self._log.warning("the disk refuses: going on in memory, a restart would lose what waits", error=str(error))
        return False

    def _fine(self) -> bool:
        if self._refused:
            self._refused = False
            self._log.info("the disk takes files again")
        return True
