"""Assembles streams of typed events: OpenAI's Responses, Anthropic's Messages.

Shapes: OpenAI's public API description (`ResponseStreamEvent`), Anthropic's page on streaming messages.
"""

from typing import Final

import msgspec

from inferpool.core.assembler import Assembler, decode_chunk, error_text, usage_in, usage_of
from inferpool.core.pieces import Fields, grow, grown
from inferpool.core.task import Usage

_TERMINAL_RESPONSES: Final = frozenset({"response.completed", "response.failed", "response.incomplete"})


_NOTHING: Final = msgspec.Raw()


class _ResponseEvent(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = _NOTHING
    error: object = None
    message: object = None


class _MessageEvent(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: Fields | None = None
    content_block: Fields | None = None
    delta: Fields | None = None
    usage: Fields | None = None
    error: object = None


_decode_response: Final = msgspec.json.Decoder(_ResponseEvent).decode
_decode_message: Final = msgspec.json.Decoder(_MessageEvent).decode
_encode: Final = msgspec.json.Encoder().encode


class ResponsesAssembler(Assembler):
    """`responses`: the terminal event carries the whole body, which is kept byte for byte."""

    def __init__(self) -> None:
        super().__init__()
        self._body = b"{}"
        self._terminal = False

    def add(self, payload: str | bytes) -> None:
        event = decode_chunk(_decode_response, payload)
        if event.error or event.type == "error":
            self.error = error_text(event.error or event.message)
        body = bytes(event.response)
        if body.startswith(b"{"):
            self._body = body
            self._terminal = event.type in _TERMINAL_RESPONSES

    def _complete(self) -> bool:
        return self._terminal

    def body(self) -> bytes:
        return self._body

    @property
    def usage(self) -> Usage | None:
        return usage_of(self._body)


class MessagesAssembler(Assembler):
    """`messages`: the opening message, its content blocks as they grew, the fields that its deltas changed."""

    def __init__(self) -> None:
        super().__init__()
        self._message: Fields = {}
        self._usage: Fields = {}
        self._blocks: dict[int, Fields] = {}
        self._stopped = False

    def add(self, payload: str | bytes) -> None:
        event = decode_chunk(_decode_message, payload)
        if event.type == "content_block_delta":
            self._grow(event)
        elif event.error or event.type == "error":
            self.error = error_text(event.error)
        elif event.type == "content_block_start":
            self._open(event)
        elif event.type == "message_start":
            self._change(event.message)
        elif event.type == "message_delta":
            self._change(event.delta)
            self._count(event.usage)
        elif event.type == "message_stop":
            self._stopped = True

    def _open(self, event: _MessageEvent) -> None:
        """A block's first strings are pieces like all that follow."""
        block = self._blocks[event.index] = {}
        grow(block, event.content_block or {})

    def _grow(self, event: _MessageEvent) -> None:
        block = self._blocks.setdefault(event.index, {})
        delta = dict(event.delta or {})
        delta.pop("type", None)
        citation = delta.pop("citation", None)
        if citation is not None:
            delta["citations"] = [citation]
        grow(block, delta)

    def _change(self, fields: Fields | None) -> None:
        for key, value in (fields or {}).items():
            if key == "usage":
                self._count(value)
            else:
                self._message[key] = value

    def _count(self, usage: object) -> None:
        """Counts are totals; a field that an event leaves out, or tells as null, keeps its last value."""
        for key, value in usage.items() if isinstance(usage, dict) else ():
            if value is not None or key not in self._usage:
                self._usage[key] = value

    def _complete(self) -> bool:
        return self._stopped

    def body(self) -> bytes:
        message = self._message | {"content": [_block(self._blocks[index]) for index in sorted(self._blocks)]}
        if self._usage:
            message["usage"] = self._usage
        return _encode(message)

    @property
    def usage(self) -> Usage | None:
        return usage_in(self._usage)


def _block(pieces: Fields) -> Fields:
    """A content block, the JSON of a tool's input parsed; cut short, it stays the text that it is."""
    block = {key: grown(value) for key, value in pieces.items()}
    written = block.pop("partial_json", None)
    if isinstance(written, str) and written.strip():
        try:
            block["input"] = msgspec.json.decode(written)
        except msgspec.DecodeError:
            block["input"] = written
    return block
