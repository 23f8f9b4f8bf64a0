"""What servers of one database tell each other: hints, each of which may be lost.

Several messages share a note: `SENDER SERIAL INDEX COUNT JSON`, the JSON of `COUNT` notes joined being a list of messages. A
message is an array that begins with its tag. Unknown tags are ignored, so that releases can be mixed.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import msgspec

from inferpool.core.ids import ServerId, SessionId, TaskId
from inferpool.core.lanes import PriorityClass
from inferpool.store.servers_protocol import NOTE_LIMIT


class Message(msgspec.Struct, frozen=True, array_like=True):
    """One hint."""


class Waiting(Message, frozen=True, tag="waiting"):
    """Lanes with something to claim; tasks that the sender's callers follow, wherever they run."""

    lanes: list[str]
    watched: list[TaskId]


class TaskEnded(Message, frozen=True, tag="ended"):
    """A task that somebody elsewhere follows has its end; `last_seq`: the number of its last chunk; 0: not known, or none."""

    task_id: TaskId
    attempt: int
    last_seq: int


class Taken(Message, frozen=True, tag="taken"):
    """An attempt was taken from its session: its engine must stop."""

    session_id: SessionId
    task_id: TaskId
    attempt: int
    why: str


class Freed(Message, frozen=True, tag="freed"):
    """A worker told another server than its session's how an attempt ended: the slot is free."""

    session_id: SessionId
    task_id: TaskId
    attempt: int


class Withdrawn(Message, frozen=True, tag="withdrawn"):
    """A pending task was cancelled or expired: its flow does not pay for it."""

    lane: str
    owner: str
    priority: PriorityClass
    rank: float


class SessionsChanged(Message, frozen=True, tag="sessions"):
    """Sessions registered, moved, left, ended, or publish something else."""

    session_ids: list[SessionId]


class Heard(Message, frozen=True, tag="heard"):
    """Sessions that spoke to the sender, which does not serve them."""

    session_ids: list[SessionId]


class Watch(Message, frozen=True, tag="watch"):
    """The sender's watchers follow a task and have these chunks of its attempt: the rest is asked for."""

    task_id: TaskId
    attempt: int
    have: int


class Unwatch(Message, frozen=True, tag="unwatch"):
    """Nobody follows the task at the sender any more."""

    task_id: TaskId


class Relayed(Message, frozen=True, tag="chunks"):
    """Chunks of an attempt, the first of which has number `first_seq`; the engine's status line (0: not known yet)."""

    task_id: TaskId
    attempt: int
    first_seq: int
    payloads: list[str]
    status: int
    content_type: str


class Parted(Message, frozen=True, tag="parted"):
    """A task was replayed, or purged: what was remembered of its end is void."""

    task_id: TaskId


class LaneNews(msgspec.Struct, frozen=True, array_like=True):
    """What changed in a lane since the last tick. `clock` 0: it did not rise; `mean_s` 0: nothing is known of its pace."""

    lane: str
    clock: float = 0.0
    tasks: int = 0
    size: int = 0
    mean_s: float = 0.0
    free: int = 0
    """Slots at the sender that a task of this lane would be given at once: as they are now."""


class FlowNews(msgspec.Struct, frozen=True, array_like=True):
    """What the sender added to a flow since the last tick."""

    lane: str
    owner: str
    priority: PriorityClass
    amount: float


class Tick(Message, frozen=True, tag="tick"):
    """Once a second: the sender lives, and knows this (spec section 6). `running`: attempts by pool, as they are now."""

    lanes: list[LaneNews]
    flows: list[FlowNews]
    running: dict[str, int]


AnyMessage: TypeAlias = (
    Waiting
    | TaskEnded
    | Taken
    | Freed
    | Withdrawn
    | SessionsChanged
    | Heard
    | Watch
    | Unwatch
    | Relayed
    | Parted
    | Tick
)

_encode: Final = msgspec.json.Encoder().encode
_split: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode: Final = msgspec.json.Decoder(AnyMessage).decode
_HEAD: Final = 36 + 3 * 11 + 4
"""Bytes before the JSON at the most."""
_ROOM: Final = NOTE_LIMIT - _HEAD


class Packer:
    """Makes notes of messages, for one sender."""

    def __init__(self, sender: ServerId) -> None:
        self._sender = sender
        self._serial = 0

    def pack(self, messages: Iterable[AnyMessage]) -> list[str]:
        """The messages in their order: as many as fit to a note; a longer one in several notes."""
        notes: list[str] = []
        for joined in _joined(map(_encode, messages)):
            pieces = list(_pieces(joined))
            self._serial = (self._serial + 1) % 10**9
            for index, piece in enumerate(pieces):
                notes.append(f"{self._sender} {self._serial} {index} {len(pieces)} {piece.decode()}")
        return notes


def _joined(encoded: Iterable[bytes]) -> Iterator[bytes]:
    batch: list[bytes] = []
    size = 2
    for one in encoded:
        if batch and size + len(one) + 1 > _ROOM:
            yield b"[" + b",".join(batch) + b"]"
            batch, size = [], 2
        batch.append(one)
        size += len(one) + 1
    if batch:
        yield b"[" + b",".join(batch) + b"]"


def _pieces(text: bytes) -> Iterator[bytes]:
    """The text cut between characters, each piece fitting a note."""
    start = 0
    while len(text) - start > _ROOM:
        end = start + _ROOM
        while text[end] & 0xC0 == 0x80:
            end -= 1
        yield text[start:end]
        start = end
    yield text[start:]


class Unpacker:
    """Makes messages of notes, from any sender; what is not whole is dropped."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[str, list[str]]] = {}

    def unpack(self, note: str) -> tuple[ServerId, list[AnyMessage]]:
        """The sender with the messages that are whole by now. Raises `ValueError` for what is no note."""
        sender, serial, index, count, text = note.split(" ", 4)
        whole = text if count == "1" else self._join(sender, serial, int(index), int(count), text)
        return ServerId(sender), [] if whole is None else list(_messages(whole))

    def _join(self, sender: str, serial: str, index: int, count: int, text: str) -> str | None:
        """The parts of one sender come in their order, or something was lost."""
        begun, parts = self._begun.get(sender, ("", []))
        if index == 0:
            begun, parts = serial, []
        if begun != serial or len(parts) != index:
            self._begun.pop(sender, None)
            return None
        parts.append(text)
        if len(parts) < count:
            self._begun[sender] = (begun, parts)
            return None
        self._begun.pop(sender, None)
        return "".join(parts)


def _messages(text: str) -> Iterator[AnyMessage]:
    for raw in _split(text):
        try:
            yield _decode(raw)
        except msgspec.ValidationError:
            continue  # a newer release says something that this one does not know
