"""The worker's identity across restarts: session, secret, newest epoch, kept in one file.

Spec section 4: the worker makes all three itself and writes them down before it uses them, so that an answer that gets
lost costs nothing.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from inferpool.core.ids import NewId
from inferpool.worker.disk import PatientDisk
from inferpool.worker.log import Log

STATE_FILE: Final = "state.json"


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    secret: str
    epoch: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Stored).decode


class SessionState:
    """The session that this worker's folder stands for."""

    def __init__(self, disk: PatientDisk, new_id: NewId, new_secret: Callable[[], str], log: Log) -> None:
        self._disk = disk
        stored = _load(disk, log)
        if stored is None:
            stored = _Stored(session_id=new_id(), secret=new_secret(), epoch=0)
        self._stored = stored

    @property
    def session_id(self) -> str:
        return self._stored.session_id

    @property
    def secret(self) -> str:
        return self._stored.secret

    @property
    def epoch(self) -> int:
        """The newest epoch used; 0 before the first."""
        return self._stored.epoch

    def next_epoch(self) -> int:
        """One above any used, on disk before it is returned (a full disk does not stop a worker: it only forgets)."""
        return self.raise_epoch(self.epoch + 1)

    def raise_epoch(self, epoch: int) -> int:
        """Note that this epoch was used, here or by another process; never lowers."""
        self._stored = msgspec.structs.replace(self._stored, epoch=max(epoch, self.epoch))
        self._disk.replace(STATE_FILE, _encode(self._stored))
        return self.epoch


def _load(disk: PatientDisk, log: Log) -> _Stored | None:
    content = disk.read(STATE_FILE)
    if content is None:
        return None
    try:
        return _decode(content)
    except msgspec.MsgspecError as error:
        log.error("the state file is damaged: this worker begins a new session", error=str(error))
        return None
