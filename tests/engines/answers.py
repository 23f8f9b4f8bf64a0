"""What the scripted engine answers in OpenAI's form: bodies, chunks, vectors, each determined by the request alone."""

import base64
import hashlib
import struct
from typing import Final, Protocol

import msgspec

from tests.engines.directives import pieces_of

CREATED: Final = 1764000000
DIMENSIONS: Final = 8

_encode = msgspec.json.Encoder().encode


class Asked(msgspec.Struct, frozen=True):
    """The fields of a request that the engine obeys."""

    model: str = ""
    messages: list[dict[str, object]] = []
    prompt: str | list[str] = ""
    input: str | list[str] = ""
    stream: bool | None = None
    stream_options: dict[str, bool] | None = None
    encoding_format: str | None = None

    @property
    def streaming(self) -> bool:
        return self.stream is True

    @property
    def wants_usage(self) -> bool:
        return bool((self.stream_options or {}).get("include_usage"))

    def prompt_text(self) -> str:
        """The last user message's text, else the prompt, else the input."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return _text(message.get("content"))
        told = self.prompt or self.input
        return told if isinstance(told, str) else "\n".join(told)


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)


class Answer(Protocol):
    """The answer to one request: in one piece, or as the payloads of a stream around its words."""

    pieces: list[str]
    """The text, a word a piece."""
    end: bytes
    """What closes a whole stream after its last payload."""

    def body(self) -> bytes:
        """The answer in one piece."""

    def opening(self) -> list[bytes]:
        """The payloads before the first word."""

    def word(self, piece: str) -> bytes:
        """The payload of one word."""

    def closing(self) -> list[bytes]:
        """The payloads after the last word."""

    def failure(self, message: str) -> bytes:
        """The payload that ends a stream in an error."""

    def frame(self, payload: bytes) -> bytes:
        """A payload as an event of the stream."""


class Completion(Answer):
    """The answer to a chat or to a plain completion."""

    end = b"data: [DONE]\n\n"

    def __init__(self, request: bytes, asked: Asked, *, chat: bool) -> None:
        self._chat = chat
        self._asked = asked
        self.pieces = pieces_of(asked.prompt_text())
        self._id = ("chatcmpl-" if chat else "cmpl-") + hashlib.sha256(request).hexdigest()[:24]

    def body(self) -> bytes:
        text = "".join(self.pieces)
        said: dict[str, object] = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {"index": 0, **said, "finish_reason": "stop"}
        name = "chat.completion" if self._chat else "text_completion"
        return _encode({**self._head(name), "choices": [choice], "usage": self._usage()})

    def opening(self) -> list[bytes]:
        return [self._chunk({"delta": {"role": "assistant", "content": ""}})] if self._chat else []

    def word(self, piece: str) -> bytes:
        return self._chunk({"delta": {"content": piece}} if self._chat else {"text": piece})

    def closing(self) -> list[bytes]:
        last = self._chunk({"delta": {}} if self._chat else {"text": ""}, "stop")
        return (
            [last, _encode({**self._chunk_head(), "choices": [], "usage": self._usage()})]
            if self._asked.wants_usage
            else [last]
        )

    def failure(self, message: str) -> bytes:
        return error_body(message, "server_error")

    def frame(self, payload: bytes) -> bytes:
        return b"data: %b\n\n" % payload

    def _chunk(self, said: dict[str, object], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, **said, "finish_reason": finish_reason}
        usage = {"usage": None} if self._asked.wants_usage else {}
        return _encode({**self._chunk_head(), "choices": [choice], **usage})

    def _chunk_head(self) -> dict[str, object]:
        return self._head("chat.completion.chunk" if self._chat else "text_completion")

    def _head(self, name: str) -> dict[str, object]:
        return {"id": self._id, "object": name, "created": CREATED, "model": self._asked.model}

    def _usage(self) -> dict[str, int]:
        asked = len(self._asked.prompt_text().split())
        answered = len(self.pieces)
        return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def embeddings(asked: Asked) -> bytes:
    """A vector for each input, made from its hash; base64 of little-endian floats where asked."""
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    data = [
        {"object": "embedding", "index": place, "embedding": _vector(text, asked.encoding_format)}
        for place, text in enumerate(texts)
    ]
    count = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": count, "total_tokens": count}
    return _encode({"object": "list", "data": data, "model": asked.model, "usage": usage})


def _vector(text: str, encoding_format: str | None) -> list[float] | str:
    values = [byte / 256 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]]
    if encoding_format == "base64":
        return base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *values)).decode()
    return values


def error_body(message: str, code: int | str) -> bytes:
    """An error as OpenAI's API shapes it."""
    return _encode({"error": {"message": message, "type": "scripted", "param": None, "code": code}})


def model_list(models: list[str]) -> bytes:
    """The answer of `GET /v1/models`."""
    data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "scripted"} for name in models]
    return _encode({"object": "list", "data": data})
