"""Picks the assembler that builds a streamed answer's final body for its endpoint."""

import re
from typing import Final

import msgspec

from inferpool.core.assembler import Assembler, LastChunkAssembler, MalformedChunk, usage_of
from inferpool.core.assembly_audio import AudioAssembler
from inferpool.core.assembly_choices import ChatAssembler, CompletionsAssembler
from inferpool.core.assembly_events import MessagesAssembler, ResponsesAssembler

__all__ = ["Assembler", "MalformedChunk", "assembler_for", "is_usage_chunk", "usage_of"]

_ASSEMBLERS: Final[dict[str, type[Assembler]]] = {
    "chat/completions": ChatAssembler,
    "completions": CompletionsAssembler,
    "responses": ResponsesAssembler,
    "messages": MessagesAssembler,
    "audio/transcriptions": AudioAssembler,
    "audio/translations": AudioAssembler,
    "audio/speech": AudioAssembler,
}
_NO_CHOICES: Final = re.compile(r'"choices"\s*:\s*\[\s*\]')


class _Shape(msgspec.Struct, frozen=True):
    choices: list[msgspec.Raw] | None = None
    usage: dict[str, object] | None = None


_decode_shape: Final = msgspec.json.Decoder(_Shape).decode


def assembler_for(endpoint: str) -> Assembler:
    """A fresh assembler for one attempt's stream; of an unknown endpoint it keeps the last payload."""
    return _ASSEMBLERS.get(endpoint, LastChunkAssembler)()


def is_usage_chunk(payload: str) -> bool:
    """Whether this is the extra chunk of `stream_options.include_usage`: no choices, but the usage.

    The worker takes it out of the stream of a caller who did not ask for it.
    """
    if _NO_CHOICES.search(payload) is None:
        return False
    try:
        shape = _decode_shape(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return shape.choices == [] and shape.usage is not None
