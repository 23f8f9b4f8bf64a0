"""Draws what an engine may write: event streams in every form that the standard allows, cut anywhere into segments."""

import json
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

LINE_ENDS: Final = ("\n", "\r\n", "\r")
STRANGE: Final = "\x7f\x85\u2028\u2029\ufeff\0\\\"'é€\N{GRINNING FACE}\N{ARABIC LETTER ALEF}"
"""Characters that some readers of lines take for a line's end, those of two, three, four bytes, what JSON escapes."""
HEAD: Final = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
SIZES: Final = st.lists(st.integers(1, 40), max_size=8)
TEXTS: Final = st.text(st.sampled_from(STRANGE) | st.characters(codec="utf-8"), max_size=12)
NOISE: Final = st.sampled_from(["", ":", ": ping", "retry: 5", "novelty: 1", "novelty", ": data: {}"])
"""Lines that are no part of an event."""

Object = dict[str, object]


class Written(msgspec.Struct, frozen=True):
    """What the engine says: its texts, the event stream that tells them, the segments in which that comes."""

    texts: list[str]
    stream: bytes
    segments: list[bytes]


def chat(texts: list[str]) -> list[Object]:
    """A chat completion whose pieces are these."""
    pieces: list[Object] = [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in texts]
    return [{"object": "chat.completion.chunk", "choices": [one]} for one in [*pieces, FINISH]]


FINISH: Final[Object] = {"index": 0, "delta": {}, "finish_reason": "stop"}


def messages(texts: list[str]) -> list[Object]:
    """The same as Anthropic's API streams it."""
    deltas: list[Object] = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts
    ]
    return [{"type": "message_start", "message": {"role": "assistant"}}, *deltas, {"type": "message_stop"}]


def responses(texts: list[str]) -> list[Object]:
    """The same as OpenAI's Responses stream it."""
    deltas: list[Object] = [{"type": "response.output_text.delta", "delta": text} for text in texts]
    return [*deltas, {"type": "response.completed", "response": {"id": "r", "output": texts}}]


SHAPES: Final[Mapping[str, Callable[[list[str]], list[Object]]]] = {
    "chat/completions": chat,
    "messages": messages,
    "responses": responses,
}


@st.composite
def event(draw: DrawFn, payload: str) -> str:
    """One event: its payload on one line or several, other fields about it, noise in between."""
    lines = [f"{draw(st.sampled_from(['data: ', 'data:']))}{line}" for line in payload.split("\n")]
    if draw(st.booleans()):
        lines.insert(0, draw(st.sampled_from(["event: anything", "event:", "id: 7", "id", "event: error"])))
    if draw(st.booleans()):
        lines.insert(draw(st.integers(0, len(lines))), draw(NOISE.filter(bool)))
    return _joined(draw, [*lines, ""]) + _joined(draw, draw(st.lists(NOISE, max_size=2)))


def _joined(draw: DrawFn, lines: list[str]) -> str:
    end = draw(st.sampled_from(LINE_ENDS))
    return "".join(line + end for line in lines)


@st.composite
def said(draw: DrawFn, endpoint: str, end_mark: str | None = None) -> Written:
    """A whole answer, with the end mark where the endpoint has one, then what nobody reads any more."""
    texts = draw(st.lists(TEXTS, max_size=4))
    payloads = SHAPES[endpoint](texts)
    events = [
        draw(event(json.dumps(one, ensure_ascii=False, indent=draw(st.sampled_from([None, None, 0, 1])))))
        for one in payloads
    ]
    if end_mark is not None:
        events += [draw(event(end_mark)), draw(st.sampled_from(["", "data: late\n\n", ": late\n"]))]
    stream = (draw(st.sampled_from(["", "\ufeff"])) + "".join(events)).encode()
    return Written(texts, stream, _cut(draw, draw(framed(stream))))


@st.composite
def framed(draw: DrawFn, body: bytes) -> bytes:
    """The whole answer: its length told, in chunks of any size, or as long as the connection lasts."""
    form = draw(st.sampled_from(["chunked", "length", "close"]))
    if form == "length":
        return f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body
    if form == "close":
        return f"{HEAD}Connection: close\r\n\r\n".encode() + body
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in _pieces(body, draw(SIZES))]
    return f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + b"".join(chunks) + b"0\r\n\r\n"


def _cut(draw: DrawFn, raw: bytes) -> list[bytes]:
    """Any pieces, now and then single bytes."""
    return _pieces(raw, draw(SIZES | st.just([1]) | st.just([len(raw)])))


def _pieces(whole: bytes, sizes: list[int]) -> list[bytes]:
    """Parts of these sizes, again and again; without sizes one part."""
    parts, turn = [], 0
    while whole:
        size = sizes[turn % len(sizes)] if sizes else len(whole)
        parts.append(whole[:size])
        whole, turn = whole[size:], turn + 1
    return parts
