"""Claims about how each API frames its streams."""

import pytest

from inferpool.wire.dialects import Dialect, dialect_of, frame_payloads


@pytest.mark.parametrize(
    ("endpoint", "dialect"),
    [
        ("chat/completions", Dialect.OPENAI),
        ("responses", Dialect.RESPONSES),
        ("messages", Dialect.MESSAGES),
        ("messages/count_tokens", Dialect.MESSAGES),
        ("messages2", Dialect.OPENAI),
        ("", Dialect.OPENAI),
    ],
)
def test_an_endpoint_speaks_its_apis_dialect(endpoint: str, dialect: Dialect) -> None:
    assert dialect_of(endpoint) is dialect


def test_only_openais_streams_end_in_a_mark_of_ours() -> None:
    assert [dialect.end for dialect in Dialect] == [b"data: [DONE]\n\n", b"", b""]


@pytest.mark.parametrize("dialect", [Dialect.RESPONSES, Dialect.MESSAGES])
def test_typed_events_are_named_after_their_type(dialect: Dialect) -> None:
    framed = frame_payloads(dialect, ['{"type":"a"}', '{"type":"b\\nc"}', "x"])
    assert framed == b'event: a\ndata: {"type":"a"}\n\ndata: {"type":"b\\nc"}\n\ndata: x\n\n'


def test_chunks_are_framed_one_by_one() -> None:
    assert frame_payloads(Dialect.OPENAI, ['{"a":1}', '{"b":2}']) == b'data: {"a":1}\n\ndata: {"b":2}\n\n'


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
def test_an_engine_cannot_inject_a_line_of_its_own(line_end: str) -> None:
    framed = frame_payloads(Dialect.OPENAI, ["a" + line_end + "event: x", "b"])
    assert framed == b"data: a\ndata: event: x\n\ndata: b\n\n"


def test_an_empty_line_inside_a_payload_does_not_end_the_event() -> None:
    assert frame_payloads(Dialect.OPENAI, ["a\n\nb"]) == b"data: a\ndata: \ndata: b\n\n"
