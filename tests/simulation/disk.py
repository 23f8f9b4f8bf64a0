"""A worker's folder in memory: it outlives the process, can be full, can be lost."""

import errno
from random import Random


class MemoryFolder:
    """What is on the disk."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.full = False


class MemoryDisk:
    """The port of `worker/disk.py` for one process; `dead` once it was killed."""

    def __init__(self, folder: MemoryFolder, chance: Random) -> None:
        self._folder = folder
        self._chance = chance
        self.dead = False

    def names(self) -> list[str]:
        self._alive()
        return sorted(self._folder.files)

    def read(self, name: str) -> bytes:
        self._alive()
        if name not in self._folder.files:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return self._folder.files[name]

    def replace(self, name: str, content: bytes) -> None:
        self._room()
        self._folder.files[name] = content

    def append(self, name: str, content: bytes) -> None:
        self._room()
        self._folder.files[name] = self._folder.files.get(name, b"") + content

    def remove(self, name: str) -> None:
        self._alive()
        self._folder.files.pop(name, None)

    def _alive(self) -> None:
        if self.dead:
            raise OSError(errno.EIO, "the process is dead")

    def _room(self) -> None:
        self._alive()
        if self._folder.full and self._chance.random() < 0.9:  # a full disk takes a small file now and then
            raise OSError(errno.ENOSPC, "no space left on device")
