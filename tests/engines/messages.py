"""What the scripted engine answers in Anthropic's form: messages, their events, counts of tokens, errors.

Shapes: Anthropic's API reference, "Messages", "Streaming messages", "Count tokens", "Errors".
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from tests.engines.answers import Answer, Asked
from tests.engines.directives import pieces_of

_ERROR_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
"""Its word for a family of errors; all others are `api_error`."""

_encode = msgspec.json.Encoder().encode


class Message(Answer):
    """The answer to `POST /v1/messages`."""

    end = b""

    def __init__(self, request: bytes, asked: Asked) -> None:
        self._asked = asked
        self.pieces = pieces_of(asked.prompt_text())
        self._id = "msg_" + hashlib.sha256(request).hexdigest()[:24]

    def body(self) -> bytes:
        content = [{"type": "text", "text": "".join(self.pieces)}]
        usage = {"input_tokens": _count(self._asked), "output_tokens": len(self.pieces)}
        return _encode(self._message(content, "end_turn", usage))

    def opening(self) -> list[bytes]:
        message = self._message([], None, {"input_tokens": _count(self._asked), "output_tokens": 0})
        block = {"type": "text", "text": ""}
        return [
            _encode({"type": "message_start", "message": message}),
            _encode({"type": "content_block_start", "index": 0, "content_block": block}),
            _encode({"type": "ping"}),
        ]

    def word(self, piece: str) -> bytes:
        delta = {"type": "text_delta", "text": piece}
        return _encode({"type": "content_block_delta", "index": 0, "delta": delta})

    def closing(self) -> list[bytes]:
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        return [
            _encode({"type": "content_block_stop", "index": 0}),
            _encode({"type": "message_delta", "delta": delta, "usage": {"output_tokens": len(self.pieces)}}),
            _encode({"type": "message_stop"}),
        ]

    def failure(self, message: str) -> bytes:
        return message_error(message, 500)

    def frame(self, payload: bytes) -> bytes:
        kind = msgspec.json.decode(payload)["type"]
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), payload)

    def _message(
        self, content: list[dict[str, str]], stop_reason: str | None, usage: dict[str, int]
    ) -> dict[str, object]:
        head = {"id": self._id, "type": "message", "role": "assistant", "model": self._asked.model}
        return {**head, "content": content, "stop_reason": stop_reason, "stop_sequence": None, "usage": usage}


def token_count(asked: Asked) -> bytes:
    """The answer of `POST /v1/messages/count_tokens`: a token a word."""
    return _encode({"input_tokens": _count(asked)})


def message_error(message: str, status: int) -> bytes:
    """An error as Anthropic's API shapes it."""
    kind = _ERROR_TYPES.get(status, "api_error")
    return _encode({"type": "error", "error": {"type": kind, "message": message}})


def _count(asked: Asked) -> int:
    return len(asked.prompt_text().split())
