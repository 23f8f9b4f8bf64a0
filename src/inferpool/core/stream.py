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

EVENT_ID: Final = "([1-9][0-9]{0,17})-(0|[1-9][0-9]{0,17}|end)"
_EVENT_ID: Final = re.compile(EVENT_ID)
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


def pack_chunks(chunks: Sequence[str]) -> bytes:
    """A finished stream's chunks, in order, as one compressed blob: a MessagePack list of strings, deflated."""
    return zlib.compress(_encode_chunks(chunks), 1)


def unpack_chunks(blob: bytes) -> list[str]:
    """The chunks that `pack_chunks` packed."""
    return _decode_chunks(zlib.decompress(blob))
