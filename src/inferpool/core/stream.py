"""The law of a stream: chunks numbered from 1 in each attempt without a gap, places in it, its stored form.

A chunk is one SSE payload of the engine as it is, without `[DONE]` (spec section 2). A place on the native stream is
written `ATTEMPT-SEQ`; `ATTEMPT-0` begins an attempt anew (a reset), `ATTEMPT-end` is the terminal event.
"""

import re
import zlib
from enum import Enum
from typing import Final

import msgspec

_PLACE: Final = re.compile(r"([0-9]{1,9})-([0-9]{1,15}|end)")
_COMPRESSION: Final = 1
"""zlib's fastest: payloads of one stream repeat each other, so even this shrinks them tenfold."""


class Place(msgspec.Struct, frozen=True):
    """How far a watcher has seen: the attempt with the last sequence number of it; `ended`: its end, too."""

    attempt: int
    seq: int
    ended: bool = False

    def __str__(self) -> str:
        return f"{self.attempt}-{'end' if self.ended else self.seq}"


def parse_place(text: str) -> Place | None:
    """The place that a `Last-Event-ID` names; None for what is none."""
    match = _PLACE.fullmatch(text)
    if match is None:
        return None
    attempt, seq = match.groups()
    return Place(int(attempt), 0, ended=True) if seq == "end" else Place(int(attempt), int(seq))


class SeqVerdict(Enum):
    """What the sequence law says of an arriving chunk."""

    ACCEPT = 1
    REPEAT = 2
    GAP = 3


def judge_seq(have: int, seq: int) -> SeqVerdict:
    """Judge chunk `seq` where `have` is the highest contiguous number so far."""
    if seq == have + 1:
        return SeqVerdict.ACCEPT
    return SeqVerdict.GAP if seq > have else SeqVerdict.REPEAT


def continues(seen: Place, attempt: int, prefix: int) -> bool:
    """Whether a watcher that saw `seen` can go on with `attempt`, which continues `prefix` chunks of the older one.

    Spec section 5: only when the prefix covers all that it saw; else it gets a reset.
    """
    return seen.attempt == attempt or seen.seq <= prefix


def pack_chunks(payloads: list[str]) -> bytes:
    """A finished stream as one compressed blob."""
    return zlib.compress(msgspec.msgpack.encode(payloads), _COMPRESSION)


def unpack_chunks(blob: bytes) -> list[str]:
    """The payloads of a packed stream. Raises `ValueError` for what `pack_chunks` did not make."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(blob), type=list[str])
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"not a packed stream: {error}") from error
