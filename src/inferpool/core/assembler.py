"""What every assembler of a streamed answer has in common: its face, its decoding, the tokens it counts."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Final, TypeVar

import msgspec

from inferpool.core.errors import ProtocolBroken
from inferpool.core.task import Usage

Decoded = TypeVar("Decoded")


class MalformedChunk(ProtocolBroken, ValueError):
    """The engine streamed a payload that is not the JSON object which its endpoint promises."""


def decode_chunk(decode: Callable[[str | bytes], Decoded], payload: str | bytes) -> Decoded:
    """The payload as what its endpoint promises. Raises `MalformedChunk`."""
    try:
        return decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedChunk(f"the engine streamed what its endpoint does not promise: {error}") from error


class Assembler(ABC):
    """Builds the body that the engine would have answered without streaming, from the chunks of one attempt.

    One assembler serves one attempt. The payloads come in order, `[DONE]` is told by `done()`.
    """

    def __init__(self) -> None:
        self.error: str | None = None
        """The message of an error that the engine sent inside its stream; the answer is void then."""
        self._done = False

    @abstractmethod
    def add(self, payload: str | bytes) -> None:
        """Take the next chunk. Raises `MalformedChunk`."""

    @abstractmethod
    def body(self) -> bytes:
        """The answer as JSON in UTF-8; before the end, as far as it came."""

    @property
    @abstractmethod
    def usage(self) -> Usage | None:
        """The tokens that the engine counted; None when it said nothing of them."""

    @property
    def ended(self) -> bool:
        """Whether an end mark was seen. A stream that closes without one broke off: it is no answer."""
        return self._done or self._complete()

    def done(self) -> None:
        """The engine sent `[DONE]`."""
        self._done = True

    def _complete(self) -> bool:
        """Whether the payloads carried the endpoint's own end mark."""
        return False


class LastChunkAssembler(Assembler):
    """For endpoints whose streams nobody here knows: the last payload is the body, `[DONE]` the only end mark."""

    def __init__(self) -> None:
        super().__init__()
        self._last: str | bytes = b""

    def add(self, payload: str | bytes) -> None:
        self._last = payload

    def body(self) -> bytes:
        return self._last.encode() if isinstance(self._last, str) else self._last

    @property
    def usage(self) -> Usage | None:
        return usage_of(self.body())


def error_text(error: object) -> str:
    """The message inside an engine's `error` value; the whole value as JSON where it has none."""
    if isinstance(error, str):
        return error
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else msgspec.json.encode(error).decode()


_Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Counts(msgspec.Struct, frozen=True):
    """A `usage` object: OpenAI's two names, then the two of Responses, which Anthropic has too."""

    prompt_tokens: _Tokens | None = None
    completion_tokens: _Tokens | None = None
    input_tokens: _Tokens | None = None
    output_tokens: _Tokens | None = None


class _Counted(msgspec.Struct, frozen=True):
    usage: _Counts | None = None


_decode_counted: Final = msgspec.json.Decoder(_Counted).decode


def usage_of(body: bytes) -> Usage | None:
    """The tokens that an unstreamed answer's body tells; None when it tells nothing that can be counted."""
    try:
        counts = _decode_counted(body).usage
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return _usage(counts) if counts is not None else None


def usage_in(counted: object) -> Usage | None:
    """The same of a `usage` value that is decoded already."""
    try:
        return _usage(msgspec.convert(counted, _Counts))
    except msgspec.ValidationError:
        return None


def _usage(counts: _Counts) -> Usage | None:
    prompt = counts.input_tokens if counts.prompt_tokens is None else counts.prompt_tokens
    completion = counts.output_tokens if counts.completion_tokens is None else counts.completion_tokens
    if prompt is None and completion is None:
        return None
    return Usage(prompt_tokens=prompt or 0, completion_tokens=completion or 0)
