"""Assembles streams of speech: OpenAI's transcription or speech events, the chat-like chunks that vLLM sends instead.

Shapes: OpenAI's public API description (`TranscriptTextDeltaEvent`, `SpeechAudioDoneEvent`), vLLM's `transcription.chunk`.
"""

from typing import Final

import msgspec

from inferpool.core.assembler import Assembler, decode_chunk, error_text, usage_of
from inferpool.core.task import Usage


class _Delta(msgspec.Struct):
    content: object = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: object = None


class _Event(msgspec.Struct):
    type: object = None
    delta: object = None
    choices: list[_Choice] = []
    error: object = None
    message: object = None
    usage: object = None


_decode: Final = msgspec.json.Decoder(_Event).decode
_encode: Final = msgspec.json.Encoder().encode


class AudioAssembler(Assembler):
    """`audio/…`: the event that ends the stream, kept byte for byte; before it the words so far."""

    def __init__(self) -> None:
        super().__init__()
        self._words: list[str] = []
        self._end = b""
        self._counted = b""
        self._finished = False

    def add(self, payload: str | bytes) -> None:
        event = decode_chunk(_decode, payload)
        written = payload.encode() if isinstance(payload, str) else payload
        kind = event.type if isinstance(event.type, str) else ""
        if event.error or kind == "error":
            self.error = error_text(event.error or event.message)
        if event.usage is not None:
            self._counted = written
        if kind.endswith(".done"):
            self._end = written
        words = event.delta if kind == "transcript.text.delta" else None
        for choice in event.choices:
            words = choice.delta.content if choice.delta is not None else None
            self._finished = self._finished or isinstance(choice.finish_reason, str)
        if isinstance(words, str):
            self._words.append(words)

    def _complete(self) -> bool:
        return bool(self._end) or self._finished

    def body(self) -> bytes:
        return self._end or _encode({"text": "".join(self._words)})

    @property
    def usage(self) -> Usage | None:
        return usage_of(self._counted)
