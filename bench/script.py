"""What the scripted engine says, so that whoever asked can compare the answer byte for byte.

A request carries its own number, how many chunks it wants, how long the engine shall think. The answer carries that
number too: a mixed up answer is another one than was expected.
"""

import re
from typing import Final, NamedTuple

MODEL: Final = "scripted"
DONE: Final = b"[DONE]"
_FILLING: Final = b"x"
_REQUEST: Final = (
    b'{"model":"scripted","stream":%s,"messages":[{"role":"user","content":"call-%08d chunks-%05d delay-%05d %s"}]}'
)
_ANSWER: Final = (
    b'{"id":"chatcmpl-scripted","object":"chat.completion","created":1700000000,"model":"scripted","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"call-%08d %s"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":200,"completion_tokens":200,"total_tokens":400}}'
)
_CHUNK: Final = (
    b'{"id":"chatcmpl-scripted","object":"chat.completion.chunk","created":1700000000,"model":"scripted",'
    b'"choices":[{"index":0,"delta":{"content":"call-%08d chunk-%05d "},"finish_reason":null}]}'
)
_LAST: Final = (
    b'{"id":"chatcmpl-scripted","object":"chat.completion.chunk","created":1700000000,"model":"scripted",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
)
USAGE: Final = (
    b'{"id":"chatcmpl-scripted","object":"chat.completion.chunk","created":1700000000,"model":"scripted",'
    b'"choices":[],"usage":{"prompt_tokens":200,"completion_tokens":200,"total_tokens":400}}'
)
MODELS: Final = b'{"object":"list","data":[{"id":"scripted","object":"model","created":1,"owned_by":"bench"}]}'
_WISH: Final = re.compile(rb"call-(\d{8}) chunks-(\d{5}) delay-(\d{5})")


class Wish(NamedTuple):
    """What one request asks of the engine. `chunks` counts those with text; 0: an answer in one piece."""

    call: int
    chunks: int = 0
    delay_ms: int = 0


def request_body(wish: Wish, size: int = 1024) -> bytes:
    """A chat completion of about `size` bytes that carries the wish."""
    streamed = b"true" if wish.chunks else b"false"
    filling = _FILLING * max(0, size - len(_REQUEST) - 20)
    return _REQUEST % (streamed, wish.call, wish.chunks, wish.delay_ms, filling)


def read_wish(body: bytes) -> Wish | None:
    """The wish that a request carries, whoever spliced something into it on the way; None: it carries none."""
    found = _WISH.search(body)
    return None if found is None else Wish(*map(int, found.groups()))


def answer_body(call: int, size: int = 1024) -> bytes:
    """The engine's answer in one piece, about `size` bytes."""
    return _ANSWER % (call, _FILLING * max(0, size - len(_ANSWER)))


def payloads(wish: Wish) -> list[bytes]:
    """The payloads that a caller of a stream sees, in order, without the end mark."""
    return [_CHUNK % (wish.call, number) for number in range(1, wish.chunks + 1)] + [_LAST]


def stream_body(wish: Wish) -> bytes:
    """The whole stream as server-sent events, as a caller sees it."""
    return b"".join([frame(payload) for payload in payloads(wish)]) + frame(DONE)


def frame(payload: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + payload + b"\n\n"
