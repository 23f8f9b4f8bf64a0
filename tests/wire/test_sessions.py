"""Claims about what a worker tells its server, what the server tells it."""

import msgspec
import pytest

from inferpool.core.errors import ProtocolBroken
from inferpool.core.llm import LlmStatus
from inferpool.wire.sessions import (
    CancelRun,
    Chunk,
    Event,
    Failed,
    Frame,
    Infer,
    LlmStatusChanged,
    Ping,
    RefusedEvent,
    RegisterRequest,
    Result,
    Returned,
    Sleep,
    Started,
    Stopped,
    Wake,
    Woken,
    decode_events,
    decode_frame,
    encode_events,
    encode_frame,
)

INFER = Infer(
    task_id="t",
    attempt=1,
    llm_name="m",
    endpoint="chat/completions",
    content_type="application/json",
    request='{"model":"m"}\n',
    streaming=True,
    run_s=3600.0,
)
FRAMES: list[Frame] = [
    INFER,
    CancelRun(task_id="t", attempt=1),
    Wake(wake_id="w", llm_name="m"),
    Sleep(llm_name="m"),
    Ping(),
]
EVENTS: list[Event] = [
    Started(task_id="t", attempt=1, status=200, content_type="text/event-stream"),
    Chunk(task_id="t", attempt=1, seq=1, data="a\nb"),
    Result(task_id="t", attempt=1, last_seq=1, status=200, content_type="application/json", body="{}"),
    Failed(task_id="t", attempt=1, code="engine_error", message="refused"),
    Returned(task_id="t", attempt=1),
    Stopped(task_id="t", attempt=1),
    Woken(wake_id="w", ok=False, message="no"),
    LlmStatusChanged(llm_name="m", status=LlmStatus.ACTIVE, slots=4),
]


def split(frame: bytes) -> tuple[str, str]:
    """The name with the data of an encoded frame."""
    name, data, *rest = frame.decode().split("\n")
    assert rest == ["", ""]
    return name.removeprefix("event: "), data.removeprefix("data: ")


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_frame_is_one_event_of_one_line(frame: Frame) -> None:
    assert decode_frame(*split(encode_frame(frame))) == frame


def test_a_frame_leaves_out_what_is_not_set() -> None:
    data = msgspec.json.decode(split(encode_frame(INFER))[1])
    assert not {"request_base64", "request_url", "headers"} & set(data)


def test_a_frame_of_a_newer_server_is_ignored() -> None:
    assert decode_frame("dance", "{}") is None
    assert decode_frame("ping", '{"more":1}') == Ping()


def test_a_known_frame_without_a_field_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolBroken, match="'infer' is malformed"):
        decode_frame("infer", '{"task_id":"t"}')


def test_a_batch_keeps_its_order() -> None:
    assert decode_events(encode_events(EVENTS)) == EVENTS
    assert decode_events(b"{}") == []


def test_an_event_of_a_newer_worker_is_left_out() -> None:
    body = encode_events(EVENTS[:2]).replace(b'{"events":[', b'{"events":[{"type":"dance","how":"slowly"},')
    assert decode_events(body) == EVENTS[:2]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"events":[{"type":"chunk","task_id":"t"}]}',
        b'{"events":[{"type":"dance"},{"type":"chunk","task_id":"t"}]}',
        b'{"events":[{"task_id":"t"}]}',
        b'{"events":{}}',
    ],
)
def test_a_malformed_batch_is_refused_whole(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_events(body)


def test_a_refusal_names_where_to_go_on_only_after_a_gap() -> None:
    stale = RefusedEvent(task_id="t", attempt=1, reason="stale")
    gap = RefusedEvent(task_id="t", attempt=1, reason="gap", have_seq=0)
    assert msgspec.json.encode(stale) == b'{"task_id":"t","attempt":1,"reason":"stale"}'
    assert msgspec.json.encode(gap) == b'{"task_id":"t","attempt":1,"reason":"gap","have_seq":0}'


def test_a_registration_of_a_newer_worker_may_say_more() -> None:
    request = msgspec.json.decode(
        b'{"epoch":1,"worker":{"name":"box","mood":"good"},"llms":[],"agents":[],"more":{}}', type=RegisterRequest
    )
    assert (request.protocol, request.session_id, request.holding) == (1, None, [])
