"""What of the outbox lies on disk: finished answers that must outlive the process, long streams that memory cannot hold.

A finished answer is one file with everything of its attempt, so that a restarted worker can deliver it from any chunk
on. A spill holds chunks that the server already took of an attempt that still runs: nothing of it survives a restart.
"""

from typing import Final
from urllib.parse import quote

import msgspec

from inferpool.wire.sessions import Chunk, Failed, Result, Started
from inferpool.worker.disk import PatientDisk
from inferpool.worker.entry import Entry
from inferpool.worker.log import Log

_RESULT: Final = ".result"
_SPILL: Final = ".chunks"


class _Shelved(msgspec.Struct, frozen=True, kw_only=True):
    task_id: str
    attempt: int
    started: Started | None
    terminal: Result | Failed
    chunks: list[str]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Shelved).decode
_encode_lines = msgspec.json.Encoder().encode_lines
_decode_lines = msgspec.json.Decoder(str).decode_lines


class Shelf:
    """Files of the outbox by attempt. No method raises: what the disk refuses stays in memory."""

    def __init__(self, disk: PatientDisk, log: Log) -> None:
        self._disk = disk
        self._log = log

    def keep(self, entry: Entry) -> bool:
        """Put a finished answer on disk with all its chunks; whether that worked."""
        terminal = entry.terminal
        if not isinstance(terminal, (Result, Failed)) or not self.fetch(entry):
            return False
        shelved = _Shelved(
            task_id=entry.task_id,
            attempt=entry.attempt,
            started=entry.started,
            terminal=terminal,
            chunks=[chunk.data for chunk in entry.chunks],
        )
        entry.shelved = self._disk.replace(_name(entry, _RESULT), _encode(shelved))
        return entry.shelved

    def spill(self, entry: Entry) -> int:
        """Move the acknowledged chunks from memory to disk; returns how many bytes of payload that freed."""
        count = entry.acked - entry.first + 1
        if count <= 0:
            return 0
        gone = entry.chunks[:count]
        if not entry.shelved:
            lines = _encode_lines([chunk.data for chunk in gone])
            if not self._disk.append(_name(entry, _SPILL), lines):
                return 0
        del entry.chunks[:count]
        entry.first += count
        return sum(len(chunk.data) for chunk in gone)

    def fetch(self, entry: Entry) -> bool:
        """Bring the chunks that lie on disk back into memory; False when they are lost."""
        if entry.first == 1:
            return True
        payloads = self._payloads(entry)
        if payloads is None or len(payloads) < entry.first - 1:
            return False
        entry.chunks[:0] = chunks_of(entry, payloads[: entry.first - 1])
        entry.first = 1
        self._disk.remove(_name(entry, _SPILL))
        return True

    def forget(self, entry: Entry) -> None:
        """Remove its files."""
        if entry.shelved:
            self._disk.remove(_name(entry, _RESULT))
        if entry.first > 1:
            self._disk.remove(_name(entry, _SPILL))

    def restore(self) -> list[Entry]:
        """The finished answers that an earlier process left; attempts that it did not finish are forgotten."""
        entries = []
        for name in self._disk.names():
            if name.endswith(_SPILL):
                self._disk.remove(name)
            elif name.endswith(_RESULT):
                entries += self._restored(name)
        return entries

    def _restored(self, name: str) -> list[Entry]:
        shelved = self._shelved(name)
        if shelved is None:
            self._disk.remove(name)
            return []
        entry = Entry(shelved.task_id, shelved.attempt)
        entry.started, entry.terminal, entry.shelved = shelved.started, shelved.terminal, True
        entry.first = len(shelved.chunks) + 1
        entry.acked = entry.sent = entry.made
        return [entry]

    def _payloads(self, entry: Entry) -> list[str] | None:
        if entry.shelved:
            shelved = self._shelved(_name(entry, _RESULT))
            return None if shelved is None else shelved.chunks
        content = self._disk.read(_name(entry, _SPILL))
        return None if content is None else _decode_lines(content)

    def _shelved(self, name: str) -> _Shelved | None:
        content = self._disk.read(name)
        try:
            return None if content is None else _decode(content)
        except msgspec.MsgspecError as error:
            self._log.error("an outbox file is damaged, its answer is lost", file=name, error=str(error))
            return None


def chunks_of(entry: Entry, payloads: list[str]) -> list[Chunk]:
    """Payloads from the first one on as chunks of the attempt."""
    return [
        Chunk(task_id=entry.task_id, attempt=entry.attempt, seq=seq, data=data)
        for seq, data in enumerate(payloads, start=1)
    ]


def _name(entry: Entry, kind: str) -> str:
    # A server's word must not become a path.
    return f"{quote(entry.task_id, safe='')}.{entry.attempt}{kind}"
