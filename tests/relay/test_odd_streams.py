"""Claims about streams that no engine should send: told as what they are, never a silent stop, never lines of their own."""

import json
from typing import Final

import pytest

from inferpool.wire.sse import EVENT_LIMIT, SseEvent
from tests.relay.rig import Relay, Streamed
from tests.relay.streams import HEAD
from tests.wire.test_sse import by_the_book

pytestmark = pytest.mark.anyio
CHAT: Final = "chat/completions"
ENDLESS: Final = f"{HEAD}Connection: close\r\n\r\n".encode()
CHUNKED: Final = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()
WORD: Final = b'{"choices":[{"index":0,"delta":{"content":"a"}}]}'
LAST: Final = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
FIRST: Final = SseEvent(WORD.decode())


def failure(got: Streamed) -> tuple[list[SseEvent], str]:
    """What came before the error, with the error's code."""
    *before, last = by_the_book(got.body)
    error = json.loads(last.data)["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    return before, error["code"]


@pytest.mark.parametrize(
    "segments",
    [
        (ENDLESS, b"data: " + WORD + b"\n\n"),
        (ENDLESS, b"data: " + WORD + b"\n\ndata: [DO"),
        (CHUNKED, b"39\r\ndata: " + WORD + b"\n\n\r\n"),
        (CHUNKED, b"39\r\ndata: " + WORD + b"\n\n\r\n", b"0\r\n\r\n"),
    ],
)
async def test_a_stream_without_its_end_mark_ends_in_an_error(relay: Relay, segments: tuple[bytes, ...]) -> None:
    got = await relay.stream(CHAT, *segments, breaks=True, inferpool_queue="live")
    assert failure(got) == ([FIRST], "engine_error")


@pytest.mark.parametrize("endpoint", ["messages", "responses"])
async def test_a_stream_of_named_events_without_its_end_ends_in_a_named_error(relay: Relay, endpoint: str) -> None:
    got = await relay.stream(endpoint, ENDLESS, b'data: {"type":"ping"}\n\n', inferpool_queue="live")
    assert failure(got) == ([SseEvent('{"type":"ping"}', "ping")], "engine_error")
    assert by_the_book(got.body)[-1].name == "error"


async def test_a_line_that_never_ends_is_given_up(relay: Relay) -> None:
    endless = [b"data: " + b"x" * 2**20, *[b"x" * 2**20] * (EVENT_LIMIT // 2**20)]
    got = await relay.stream(CHAT, ENDLESS, b"data: " + WORD + b"\n\n", *endless, inferpool_queue="live")
    assert failure(got) == ([FIRST], "engine_error")
    assert f"more than {EVENT_LIMIT} bytes" in got.body.decode()


async def test_a_long_line_within_the_limit_passes_whole(relay: Relay) -> None:
    word = json.dumps({"choices": [{"index": 0, "delta": {"content": "é" * 2**20}}]}, ensure_ascii=False)
    got = await relay.stream(CHAT, ENDLESS, f"data: {word}\n\n".encode(), LAST)
    assert by_the_book(got.body)[0].data == word


@pytest.mark.parametrize("wrong", [b"\xff", b"\xc3", b"\xf0\x9f\x98", b"\xed\xa0\xbd", b"\xc0\xaf"])
async def test_what_is_no_utf8_comes_as_the_standard_reads_it(relay: Relay, wrong: bytes) -> None:
    stream = b"data: " + WORD.replace(b'"a"', b'"' + wrong + b'"') + b"\n\n" + LAST
    got = await relay.stream(CHAT, ENDLESS, *[stream[place : place + 1] for place in range(len(stream))])
    assert by_the_book(got.body) == by_the_book(stream)
    assert "\ufffd" in got.body.decode()


@pytest.mark.parametrize(
    "hidden",
    [
        b'data: {"choices":[],\revent: error\rid: 9\rdata: "x":1}\r\r',
        b'data: {"choices":[],\r\n: comment\r\nretry: 1\r\ndata: "x":1}\r\n\r\n',
        b'event: error\ndata: {"choices":[]}\n\n',
        'data: {"choices":[],"x":"\u2028event: error\u2028data: {}\x85"}\n\n'.encode(),
        rb'data: {"choices":[],"x":"\n\nevent: error\ndata: {}\r\r"}' + b"\n\n",
    ],
)
async def test_lines_hidden_in_an_event_stay_the_engines_own(relay: Relay, hidden: bytes) -> None:
    got = await relay.stream(CHAT, ENDLESS, hidden + LAST)
    assert by_the_book(got.body) == [SseEvent(event.data) for event in by_the_book(hidden + LAST)]
    assert not [line for line in got.body.split(b"\n") if line and not line.startswith(b"data: ")]
