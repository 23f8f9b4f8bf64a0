"""The OpenAI API as callers speak it: what is read of a call, how streams are framed, the list of models.

Bodies are relayed, not rebuilt: of a call's body only the fields that route it are looked at. `stream_options` or `messages`
are checked for their kind alone, the engine judges the rest.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

import msgspec

from inferpool.core.clock import SECOND, Micros
from inferpool.core.errors import InvalidRequest
from inferpool.core.lanes import class_for_service_tier
from inferpool.core.task import QueueMode
from inferpool.wire.problems import malformed
from inferpool.wire.splice import check_single_model
from inferpool.wire.sse import comment, data_frame

KEY_LIMIT: Final = 255
"""Characters of an `Idempotency-Key`."""
METADATA_PAIRS: Final = 16
METADATA_KEY_LIMIT: Final = 64
METADATA_VALUE_LIMIT: Final = 512

PING: Final = comment("ping")
"""A keep-alive comment."""
DONE: Final = data_frame("[DONE]")
"""The end of a whole answer; without it the official clients stop in silence."""


# ---- a call's body ----------------------------------------------------------------------------------------------------


class CallBody(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a call's body that the queue obeys; the body itself goes on byte for byte."""

    model: str
    stream: bool | None = None
    stream_options: dict[str, msgspec.Raw] | None = None
    service_tier: str | None = None
    metadata: dict[str, str] | None = None

    @property
    def streaming(self) -> bool:
        """Whether the caller wants chunks."""
        return self.stream is True

    @property
    def priority(self) -> str:
        """The class that `service_tier` names."""
        return class_for_service_tier(self.service_tier).value


class ChatBody(CallBody, frozen=True, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: list[msgspec.Raw]


BodyDecoder: TypeAlias = Callable[[bytes], CallBody]

ENDPOINTS: Final[Mapping[str, BodyDecoder]] = {
    "chat/completions": msgspec.json.Decoder(ChatBody).decode,
}
"""The endpoints under `/v1/`, each with what it asks of a body beyond `model`: one line each."""

_decode_any: Final[BodyDecoder] = msgspec.json.Decoder(CallBody).decode


def read_body(endpoint: str, body: bytes) -> CallBody:
    """What the queue must know of a body. Raises `InvalidRequest`, which names the field or the byte."""
    try:
        call = ENDPOINTS.get(endpoint, _decode_any)(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from error
    if not call.model:
        raise InvalidRequest("`model` is empty: it names a pool or an llm", param="model")
    check_single_model(body)
    if call.metadata:
        check_metadata(call.metadata)
    return call


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise `InvalidRequest` beyond OpenAI's own limits."""
    if len(metadata) > METADATA_PAIRS:
        raise InvalidRequest(f"`metadata` may hold {METADATA_PAIRS} pairs, not {len(metadata)}", param="metadata")
    for key, value in metadata.items():
        if not 1 <= len(key) <= METADATA_KEY_LIMIT or len(value) > METADATA_VALUE_LIMIT:
            raise InvalidRequest(
                f"a key of `metadata` has 1 to {METADATA_KEY_LIMIT} characters, a value at most {METADATA_VALUE_LIMIT}",
                param="metadata",
            )


# ---- a call's headers -------------------------------------------------------------------------------------------------


class CallHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """How the caller wants its call treated. `patience` is how long its client waits; None: it did not say."""

    mode: QueueMode = QueueMode.WAIT
    pin: bool = False
    persist: bool = False
    idempotency_key: str | None = None
    patience: Micros | None = None


_PLAIN: Final = CallHeaders()
_READ: Final = (
    b"inferpool-queue",
    b"inferpool-pin",
    b"inferpool-on-disconnect",
    b"idempotency-key",
    b"x-stainless-read-timeout",
    b"x-stainless-timeout",
)
_MODES: Final[Mapping[bytes, QueueMode]] = {mode.value.encode(): mode for mode in QueueMode}
_PINS: Final[Mapping[bytes, bool]] = {b"true": True, b"false": False}
_FAREWELLS: Final[Mapping[bytes, bool]] = {b"continue": True, b"cancel": False}


def read_headers(headers: Mapping[bytes, bytes]) -> CallHeaders:
    """The headers of a call, by lower-case names. Raises `InvalidRequest`, which names the header."""
    given = [name for name in _READ if name in headers]
    if not given:
        return _PLAIN
    return CallHeaders(
        mode=_word(headers, b"inferpool-queue", _MODES, QueueMode.WAIT),
        pin=_word(headers, b"inferpool-pin", _PINS, False),
        persist=_word(headers, b"inferpool-on-disconnect", _FAREWELLS, False),
        idempotency_key=_key(headers.get(b"idempotency-key")),
        patience=_patience(headers),
    )


_Word = TypeVar("_Word", QueueMode, bool)


def _word(headers: Mapping[bytes, bytes], name: bytes, words: Mapping[bytes, _Word], default: _Word) -> _Word:
    value = headers.get(name)
    if value is None:
        return default
    word = words.get(value.strip().lower())
    if word is None:
        known = ", ".join(known.decode() for known in words)
        raise InvalidRequest(f"the header {_title(name)} is one of {known}", param=_title(name))
    return word


def _key(value: bytes | None) -> str | None:
    if value is None:
        return None
    key = value.decode("latin-1").strip()
    if not (1 <= len(key) <= KEY_LIMIT and key.isascii() and key.isprintable()):
        raise InvalidRequest(
            f"the header Idempotency-Key has 1 to {KEY_LIMIT} printable ASCII characters", param="Idempotency-Key"
        )
    return key


def _patience(headers: Mapping[bytes, bytes]) -> Micros | None:
    for name in (b"x-stainless-read-timeout", b"x-stainless-timeout"):
        value = headers.get(name)
        if value is not None:
            return _seconds(name, value)
    return None


def _seconds(name: bytes, value: bytes) -> Micros:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidRequest(f"the header {name.decode()} is a number of seconds above 0", param=name.decode())
    return round(min(seconds, 1e9) * SECOND)


def _title(name: bytes) -> str:
    return name.decode().title()


# ---- streams ----------------------------------------------------------------------------------------------------------


def frame_chunks(payloads: Sequence[str]) -> bytes:
    """The payloads as server-sent events, framed anew: what an engine put inside one cannot become a line of its own."""
    text = "\n\ndata: ".join(payloads)
    if "\r" in text or text.count("\n") != 2 * (len(payloads) - 1):
        return b"".join([data_frame(payload) for payload in payloads])
    return f"data: {text}\n\n".encode()


# ---- models -----------------------------------------------------------------------------------------------------------


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A name that callers may use. `created` in Unix seconds."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "inferpool"


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/models`."""

    object: str = "list"
    data: list[Model]
