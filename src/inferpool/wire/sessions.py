"""What a worker tells its server, what the server tells it: registration, channel frames, uplink events.

Spec section 4. Both sides import these structs, so that they cannot drift. Unknown fields, frames or events are ignored
on either side, so that releases can be mixed.
"""

from typing import Annotated, Final, TypeAlias

import msgspec

from inferpool.core.errors import ProtocolBroken
from inferpool.core.llm import LlmStatus
from inferpool.core.session import PROTOCOL, HeldAttempt, LlmOffer
from inferpool.core.task import Usage

SECRET_HEADER: Final = "Inferpool-Session-Secret"  # noqa: S105 - the header's name
EPOCH_HEADER: Final = "Inferpool-Session-Epoch"
INLINE_REQUEST_LIMIT: Final = 256 * 1024
"""Bytes of a request body up to which it travels inside its `infer` frame."""
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What a database's integer holds."""


# ---- registration -----------------------------------------------------------------------------------------------------


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Who the worker says it is."""

    name: str
    version: str = ""
    labels: dict[str, str] = {}


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt whose terminal event is not acknowledged yet; `ended`: that event waits in the outbox."""

    task_id: str
    attempt: Number
    last_seq: Number = 0
    ended: bool = False


class RegisterRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /api/v1/sessions`. The secret travels in `SECRET_HEADER`."""

    protocol: Number = PROTOCOL
    session_id: str | None = None
    epoch: Number
    worker: WorkerInfo
    llms: list[LlmOffer] = []
    holding: list[Holding] = []


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """Go on with this attempt: send what comes after `have_seq`."""

    task_id: str
    attempt: int
    have_seq: int


class PublishedLlm(msgspec.Struct, frozen=True, kw_only=True):
    """An llm as the server took it."""

    name: str
    pool: str
    status: LlmStatus


class RegisterReply(msgspec.Struct, frozen=True, kw_only=True):
    """The server's answer. `session_secret` comes only where the server made it."""

    protocol: int = PROTOCOL
    session_id: str
    session_secret: str | None = None
    epoch: int
    llms: list[PublishedLlm]
    heartbeat_s: float
    grace_s: float
    resume: list[Resume]
    drop: list[HeldAttempt]


# ---- channel: server to worker ----------------------------------------------------------------------------------------


class Infer(msgspec.Struct, frozen=True, kw_only=True, tag="infer", tag_field="frame", omit_defaults=True):
    """Run this attempt. Exactly one of the three `request…` fields is set."""

    task_id: str
    attempt: int
    llm_name: str
    endpoint: str
    content_type: str
    headers: dict[str, str] = {}
    request: str | None = None
    request_base64: str | None = None
    request_url: str | None = None
    """A path on the same server, for a body over `INLINE_REQUEST_LIMIT`."""
    streaming: bool
    run_s: float
    """Seconds left of the attempt's run limit."""


class CancelRun(msgspec.Struct, frozen=True, kw_only=True, tag="cancel", tag_field="frame"):
    """Stop this attempt; answer with `stopped`."""

    task_id: str
    attempt: int


class Wake(msgspec.Struct, frozen=True, kw_only=True, tag="wake", tag_field="frame"):
    """Make a hibernating llm active; answer with `woken`."""

    wake_id: str
    llm_name: str


class Sleep(msgspec.Struct, frozen=True, kw_only=True, tag="sleep", tag_field="frame"):
    """The llm may hibernate."""

    llm_name: str


class Ping(msgspec.Struct, frozen=True, tag="ping", tag_field="frame"):
    """The channel lives."""


Frame: TypeAlias = Infer | CancelRun | Wake | Sleep | Ping

_FRAMES: Final[dict[str, type[Frame]]] = {
    "infer": Infer,
    "cancel": CancelRun,
    "wake": Wake,
    "sleep": Sleep,
    "ping": Ping,
}
_NAMES: Final[dict[type[Frame], bytes]] = {kind: name.encode() for name, kind in _FRAMES.items()}
_encode_json = msgspec.json.Encoder().encode


def encode_frame(frame: Frame) -> bytes:
    """The frame as one server-sent event: its name in `event:`, its fields as one line of JSON in `data:`."""
    return b"event: %b\ndata: %b\n\n" % (_NAMES[type(frame)], _encode_json(frame))


def decode_frame(event: str, data: str) -> Frame | None:
    """The frame of a server-sent event; None for one that this release does not know.

    Raises `ProtocolBroken` when a known frame lacks a field.
    """
    kind = _FRAMES.get(event)
    if kind is None:
        return None
    try:
        frame: Frame = msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise ProtocolBroken(f"a channel frame {event!r} is malformed: {error}") from error
    return frame


# ---- uplink: worker to server -----------------------------------------------------------------------------------------


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """What every uplink event has in common: its name in `type`."""


class Started(_Event, frozen=True, kw_only=True, tag="started"):
    """The engine answered with this 2xx status."""

    task_id: str
    attempt: Number
    status: Number
    content_type: str


class Chunk(_Event, frozen=True, kw_only=True, tag="chunk"):
    """One SSE payload of the engine, as it is; `seq` starts at 1 in each attempt without a gap."""

    task_id: str
    attempt: Number
    seq: Number
    data: str


class Result(_Event, frozen=True, kw_only=True, tag="result"):
    """The engine's HTTP answer, whatever its status; for a stream, the assembled body."""

    task_id: str
    attempt: Number
    last_seq: Number = 0
    status: Number
    content_type: str
    retry_after_s: float | None = None
    body: str | None = None
    body_base64: str | None = None
    usage: Usage | None = None


class Failed(_Event, frozen=True, kw_only=True, tag="failure"):
    """No answer came, or a stream broke off: to be tried again; `engine_timeout` ends the task."""

    task_id: str
    attempt: Number
    code: str
    message: str


class Returned(_Event, frozen=True, kw_only=True, tag="returned"):
    """The worker gives the attempt back, begun or not."""

    task_id: str
    attempt: Number


class Stopped(_Event, frozen=True, kw_only=True, tag="stopped"):
    """The engine was stopped after a cancel, a drop or a refusal: its slot is free."""

    task_id: str
    attempt: Number
    usage: Usage | None = None


class Woken(_Event, frozen=True, kw_only=True, tag="woken"):
    """How a wake went."""

    wake_id: str
    ok: bool
    message: str | None = None


class LlmStatusChanged(_Event, frozen=True, kw_only=True, tag="llm_status"):
    """An llm of this session came, went, or has another number of slots."""

    llm_name: str
    status: LlmStatus
    slots: Number
    revision: Number = 0
    """Rises with each change that the worker tells: a request that arrives late, after its sender gave it up, must not
    bring an older state back. 0: the worker does not count."""


TaskEvent: TypeAlias = Started | Chunk | Result | Failed | Returned | Stopped
Event: TypeAlias = TaskEvent | Woken | LlmStatusChanged


class EventsRequest(msgspec.Struct, frozen=True):
    """`POST /api/v1/sessions/{id}/events`: an ordered batch, possibly empty (a heartbeat)."""

    events: list[Event] = []


class RefusedEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attempt of which the server takes nothing more (`stale`, `cancelled`, `unknown`), or takes only what comes
    after `have_seq` (`gap`)."""

    task_id: str
    attempt: int
    reason: str
    have_seq: int | None = None


class EventsReply(msgspec.Struct, frozen=True):
    """What was refused; everything else of the batch is taken for good."""

    refused: list[RefusedEvent] = []


class _RawBatch(msgspec.Struct, frozen=True):
    events: list[msgspec.Raw] = []


class _EventName(msgspec.Struct, frozen=True):
    type: str


EVENT_NAMES: Final = frozenset({"started", "chunk", "result", "failure", "returned", "stopped", "woken", "llm_status"})
_decode_batch = msgspec.json.Decoder(EventsRequest).decode
_decode_raw = msgspec.json.Decoder(_RawBatch).decode
_decode_name = msgspec.json.Decoder(_EventName).decode
_decode_event = msgspec.json.Decoder(Event).decode


def decode_events(body: bytes) -> list[Event]:
    """The events of a batch in order, without those that this release does not know.

    Raises `msgspec.ValidationError` or `msgspec.DecodeError` for a malformed batch.
    """
    try:
        return _decode_batch(body).events
    except msgspec.ValidationError:
        # Either an unknown event of a newer worker, or a malformed known one: only a look at each can tell.
        raws = _decode_raw(body).events
        return [_decode_event(raw) for raw in raws if _decode_name(raw).type in EVENT_NAMES]


def encode_events(events: list[Event]) -> bytes:
    """A batch as the body of the uplink's POST."""
    return _encode_json(EventsRequest(events))
