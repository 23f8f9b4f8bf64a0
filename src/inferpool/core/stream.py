"""The sequence law: which chunk comes next, where a watcher goes on, how a finished stream is kept.

A chunk is one SSE `data:` payload of the engine, as it is, without `[DONE]`. `seq` starts at 1 in each attempt, without
a gap (spec section 2).
"""

import re
import zlib
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from inferpool.core.errors import InvalidRequest

END_SEQ: Final = 2**63 - 1
"""The `seq` of an end: it stands after every chunk."""

_EVENT_ID: Final = re.compile(r"([1-9][0-9]{0,17})-(0|[1-9][0-9]{0,17}|end)", re.ASCII)
_encode_chunks = msgspec.msgpack.Encoder().encode
_decode_chunks = msgspec.msgpack.Decoder(list[str]).decode


class Place(NamedTuple):
    """A place in a task's stream: after chunk `seq` of `attempt`; 0: before its first, `END_SEQ`: at the task's end."""

    attempt: int
    seq: int

    @property
    def ended(self) -> bool:
        """Whether this is the task's end, not a chunk."""
        return self.seq == END_SEQ

    def event_id(self) -> str:
        """The SSE id of the native stream: `ATTEMPT-SEQ`, or `ATTEMPT-end`."""
        return f"{self.attempt}-{'end' if self.ended else self.seq}"


def parse_event_id(event_id: str) -> Place:
    """The place that a watcher's `Last-Event-ID` names. Raises `InvalidRequest` when it is no id of ours."""
    match = _EVENT_ID.fullmatch(event_id)
    if match is None:
        raise InvalidRequest("Last-Event-ID must be ATTEMPT-SEQ or ATTEMPT-end, as the stream sent it", "Last-Event-ID")
    attempt, seq = match.groups()
    return Place(int(attempt), END_SEQ if seq == "end" else int(seq))


class Verdict(Enum):
    """What to do with a chunk, or a result's `last_seq`, of an attempt."""

    ACCEPT = "accept"
    REPEAT = "repeat"
    """It is here already: acknowledge it again, keep the first."""
    GAP = "gap"
    """Something before it is missing: refuse it, ask for all after the highest contiguous one."""


def judge_seq(have: int, seq: int) -> Verdict:
    """The verdict on chunk `seq` where `have` is the highest contiguous seq of the attempt (0: none yet)."""
    if seq == have + 1:
        return Verdict.ACCEPT
    return Verdict.REPEAT if seq <= have else Verdict.GAP


class Stretch(NamedTuple):
    """Chunks `first_seq` to `last_seq` of an attempt; `END_SEQ` as the last: as far as it goes."""

    attempt: int
    first_seq: int
    last_seq: int = END_SEQ


class Course(NamedTuple):
    """What a watcher gets: first of all a reset where what it saw is void, then the stretches in order."""

    reset: bool
    stretches: tuple[Stretch, ...]


def continue_from(seen: Place | None, attempt: int, prefix: Sequence[Place] = ()) -> Course:
    """What a watcher that saw the stream up to `seen` gets while `attempt` is the newest (spec section 5).

    `prefix` is what the attempt continues: the older attempts whose chunks it goes on from, each with its last chunk
    that counts, in order; empty where the attempt began anew. The watcher gets the continuation when the prefix covers
    all that it saw, else a reset with everything from the start.
    """
    parts = (*prefix, Place(attempt, END_SEQ))
    if seen is not None and seen.seq > 0:
        for index, part in enumerate(parts):
            if part.attempt == seen.attempt and seen.seq <= part.seq:
                return Course(False, _stretches(parts[index:], after=seen.seq))
    return Course(seen is not None and seen.seq > 0, _stretches(parts, after=0))


def _stretches(parts: Sequence[Place], after: int) -> tuple[Stretch, ...]:
    """The parts as stretches, the first of them without its chunks up to `after`."""
    firsts = [after + 1] + [1] * (len(parts) - 1)
    whole = zip(parts, firsts, strict=True)
    return tuple(Stretch(part.attempt, first, part.seq) for part, first in whole if first <= part.seq)


def pack_chunks(chunks: Sequence[str]) -> bytes:
    """A finished stream's chunks, in order, as one compressed blob: a MessagePack list of strings, deflated."""
    return zlib.compress(_encode_chunks(chunks), 1)


def unpack_chunks(blob: bytes) -> list[str]:
    """The chunks that `pack_chunks` packed."""
    return _decode_chunks(zlib.decompress(blob))
