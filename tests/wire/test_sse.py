"""Claims about server-sent events, parsed or framed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferpool.core.errors import ProtocolBroken
from inferpool.wire.sse import EventTooLarge, SseEvent, SseParser, comment, data_frame, lines_of, typed_frame

STREAM = st.lists(
    st.sampled_from(
        [
            b"data: {}", b"data:x", b"data", b"data:  two", b"event: end", b"event:", b"id: 1-2", b"id: a\0b", b"id", b"retry: 5",
            b": note", b":", b"novelty: 1", b"\xef\xbb\xbf", b"\xc3\xa9", b"\xff", "data: é€😀".encode(), b"\n", b"\r", b"\r\n",
            b"\n\n", b"\r\n\r\n",
        ]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


def parsed(*pieces: bytes) -> list[SseEvent]:
    """The events of a stream that arrives in these pieces."""
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def by_the_book(stream: bytes) -> list[SseEvent]:
    """The standard's algorithm, a line at a time, for a stream that is all there."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    events: list[SseEvent] = []
    data, name, last_id = "", "", ""
    for line in text.split("\n")[:-1]:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append(SseEvent(data[:-1], name or "message", last_id))
            data, name = "", ""
        elif field == "data":
            data += value + "\n"
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            last_id = value
    return events


# ---- parsing ----------------------------------------------------------------------------------------------------------


def test_whole_frames_are_events() -> None:
    assert parsed(b"data: one\n\ndata: two\n\n") == [SseEvent("one"), SseEvent("two")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_line_ends_in_each_of_three_ways(end: bytes) -> None:
    stream = end.join([b"event: end", b"id: 1-end", b"data: a", b"data: b", b"", b""])
    assert parsed(stream) == [SseEvent("a\nb", "end", "1-end")]


def test_an_event_comes_with_its_blank_line_not_with_the_next_byte() -> None:
    parser = SseParser()
    assert parser.feed(b"data: x\r\r") == [SseEvent("x")]
    assert parser.feed(b"\ndata: y\n") == []
    assert parser.feed(b"") == []
    assert parser.feed(b"\n") == [SseEvent("y")]


def test_an_empty_piece_between_cr_and_lf_changes_nothing() -> None:
    assert parsed(b"data: x\r", b"", b"\ndata: y\r\n\r\n") == [SseEvent("x\ny")]


def test_the_byte_order_mark_of_the_start_is_no_part_of_the_first_field() -> None:
    assert parsed(b"\xef", b"\xbb", b"\xbfdata: x\n\n") == [SseEvent("x")]
    assert parsed(b"data: x\n\n\xef\xbb\xbfdata: y\n\n") == [SseEvent("x")]


def test_comments_and_unknown_fields_are_no_events() -> None:
    assert parsed(b": ping\n\nretry: 5\n\nnovelty\n\n: ping\ndata: x\n\n") == [SseEvent("x")]


def test_an_id_stays_until_the_next_one() -> None:
    events = parsed(b"id: 1\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid\ndata: d\n\n")
    assert [event.id for event in events] == ["1", "1", "1", ""]


def test_one_space_after_the_colon_is_not_data() -> None:
    assert parsed(b"data:a\ndata: b\ndata:  c\ndata\n\n") == [SseEvent("a\nb\n c\n")]


def test_empty_data_is_an_event_no_data_is_none() -> None:
    assert parsed(b"data\n\nevent: x\n\ndata:\n\n") == [SseEvent(""), SseEvent("")]


def test_an_event_without_its_blank_line_does_not_count() -> None:
    assert parsed(b"data: x\n") == []


def test_what_is_not_utf8_is_replaced() -> None:
    assert parsed(b"data: \xff\n\nevent: a\ndata: \xc3\n\n") == [SseEvent("\ufffd"), SseEvent("\ufffd", "a")]


@given(STREAM)
def test_a_stream_is_read_as_the_standard_says(stream: bytes) -> None:
    assert parsed(stream) == by_the_book(stream)


@given(STREAM, st.data())
def test_a_stream_is_the_same_events_wherever_it_is_cut(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parsed(*pieces) == parsed(stream)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: " + b"x" * 100],
        [b"data: x\ndata: ", b"x" * 50, b"y" * 50],
        [b"data: " + b"x" * 100 + b"\n\n"],
        [b"event: a\ndata: " + b"x" * 100 + b"\n\n"],
        [b"data: x\n"] * 20,
    ],
)
def test_an_event_over_the_limit_is_refused(pieces: list[bytes]) -> None:
    parser = SseParser(limit=100)
    with pytest.raises(EventTooLarge, match="more than 100 bytes") as refused:
        list(map(parser.feed, pieces))
    assert isinstance(refused.value, ProtocolBroken)


def test_many_small_events_are_within_the_limit() -> None:
    assert len(SseParser(limit=100).feed(b"data: x\n\n" * 100)) == 100


def test_keep_alives_without_a_blank_line_do_not_pile_up() -> None:
    parser = SseParser(limit=100)
    assert [parser.feed(b": ping\n") for _ in range(50)] == [[]] * 50
    assert parser.feed(b": ping\ndata: x\n\n") == [SseEvent("x")]


# ---- framing ----------------------------------------------------------------------------------------------------------


def test_a_frame_has_its_fields_in_lines() -> None:
    assert data_frame("{}") == b"data: {}\n\n"
    assert data_frame("{}", "end", "2-end") == b"event: end\nid: 2-end\ndata: {}\n\n"


@given(st.text(), st.none() | st.just("end"), st.none() | st.just("1-2"))
def test_no_payload_can_write_lines_of_its_own(payload: str, event: str | None, event_id: str | None) -> None:
    told = SseEvent("\n".join(lines_of(payload)), event or "message", event_id or "")
    assert parsed(data_frame(payload, event, event_id)) == [told]


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "\n", "a\0b"])
def test_a_name_or_an_id_of_several_lines_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        data_frame("{}", event=bad)
    with pytest.raises(ValueError, match="one line"):
        data_frame("{}", event_id=bad)
    with pytest.raises(ValueError, match="one line"):
        comment(bad)


def test_a_typed_frame_bears_the_name_of_its_payload() -> None:
    payload = '{"type":"message_stop"}'
    assert typed_frame(payload) == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ({"error": {"message": "x"}}, "error"),
        ({"error": None}, "message"),
        ({}, "message"),
        ({"type": ""}, "message"),
        ({"type": 3}, "message"),
        ({"type": "a\ndata: injected"}, "message"),
        ([], "message"),
    ],
)
def test_a_payload_without_a_usable_type_gets_what_can_be_told(payload: object, name: str) -> None:
    written = json.dumps(payload)
    assert parsed(typed_frame(written)) == [SseEvent(written, name)]


@pytest.mark.parametrize("payload", ["[DONE]", "", "[" * 100_000])
def test_a_payload_that_is_no_json_is_framed_all_the_same(payload: str) -> None:
    assert parsed(typed_frame(payload)) == [SseEvent(payload)]


def test_a_comment_is_no_event_in_either_form() -> None:
    assert (comment("ping"), comment("ping", blank_line=True)) == (b": ping\n", b": ping\n\n")
    assert parsed(comment("ping"), comment("ping", blank_line=True), data_frame("x")) == [SseEvent("x")]
