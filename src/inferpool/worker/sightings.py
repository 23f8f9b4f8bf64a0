"""What was last seen at each engine, kept on disk: a worker restarted while its engine is away still knows its llms.

Else its first registration would publish nothing, and names that callers use would be gone until the engine is back.
"""

from typing import Final

import msgspec

from inferpool.worker.disk import PatientDisk

SIGHTINGS_FILE: Final = "engines.json"


class Sighting(msgspec.Struct, frozen=True):
    """The models that an engine served, the requests that it took at once."""

    models: list[str]
    slots: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Sighting]).decode


class Sightings:
    """Sightings by the engine's address."""

    def __init__(self, disk: PatientDisk) -> None:
        self._disk = disk
        self._seen = _load(disk)

    def last(self, engine: str) -> Sighting | None:
        """None for an engine that was never seen."""
        return self._seen.get(engine)

    def note(self, engine: str, sighting: Sighting) -> None:
        """Keep a new sighting; one that says nothing new costs nothing."""
        if self._seen.get(engine) != sighting:
            self._seen[engine] = sighting
            self._disk.replace(SIGHTINGS_FILE, _encode(self._seen))


def _load(disk: PatientDisk) -> dict[str, Sighting]:
    try:
        return _decode(disk.read(SIGHTINGS_FILE) or b"{}")
    except msgspec.MsgspecError:
        return {}  # a damaged file is forgotten: the next look writes it anew
