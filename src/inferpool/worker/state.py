"""What a worker remembers across restarts, in one file: its session, what its engines served.

Spec section 4: the worker makes session, secret, epoch itself and writes them down before it uses them, so that an answer
that gets lost costs nothing. Without the last sight of its engines a worker that is restarted while one of them is away
would publish nothing, and names that callers use would be gone.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from inferpool.core.ids import NewId
from inferpool.worker.disk import PatientDisk
from inferpool.worker.log import Log

STATE_FILE: Final = "state.json"


class Sighting(msgspec.Struct, frozen=True, omit_defaults=True):
    """The models that an engine served, the requests that it took at once."""

    models: list[str]
    slots: int
    endpoints: dict[str, list[str]] = {}
    """Of the models that served a few endpoints alone, those."""
    lacks: list[str] = []
    """The endpoints that it had not."""


class _Stored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    session_id: str
    secret: str
    epoch: int
    engines: dict[str, Sighting] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Stored).decode


class WorkerState:
    """The session that this worker's folder stands for, with the last sight of each engine by its address."""

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

    def next_epoch(self) -> int | None:
        """One above any used, on disk before it is returned; None when the disk refuses it.

        An epoch that the next process does not know of may still arrive late, then take the session away from it.
        """
        return self.epoch if self.raise_epoch(self.epoch + 1) else None

    def raise_epoch(self, epoch: int) -> bool:
        """Note that this epoch was used, here or by another process; never lowers. Whether it is on disk."""
        return self._keep(msgspec.structs.replace(self._stored, epoch=max(epoch, self.epoch)))

    def last_sight(self, engine: str) -> Sighting | None:
        """None for an engine that was never seen."""
        return self._stored.engines.get(engine)

    def note_sight(self, engine: str, sighting: Sighting) -> None:
        """Remember it; what says nothing new costs nothing."""
        if self.last_sight(engine) != sighting:
            self._keep(msgspec.structs.replace(self._stored, engines={**self._stored.engines, engine: sighting}))

    def _keep(self, stored: _Stored) -> bool:
        self._stored = stored
        return self._disk.replace(STATE_FILE, _encode(stored))


def _load(disk: PatientDisk, log: Log) -> _Stored | None:
    content = disk.read(STATE_FILE)
    if content is None:
        return None
    try:
        return _decode(content)
    except msgspec.MsgspecError as error:
        log.error("the state file is damaged: this worker begins a new session", error=str(error))
        return None
