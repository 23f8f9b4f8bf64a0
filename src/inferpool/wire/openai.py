"""The APIs under `/v1/` as callers speak them: what is read of a call, the list of models.

Bodies are relayed, not rebuilt: of a call's body only the fields that route it are looked at. `stream_options` or `messages`
are checked for their kind alone, the engine judges the rest.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Final, TypeVar

import msgspec

from inferpool.core.clock import SECOND, Micros
from inferpool.core.errors import InvalidRequest
from inferpool.core.lanes import class_for_service_tier
from inferpool.core.task import QueueMode
from inferpool.wire.forms import form_fields
from inferpool.wire.problems import malformed
from inferpool.wire.splice import check_single_model
from inferpool.wire.sse import comment

KEY_LIMIT: Final = 255
"""Characters of an `Idempotency-Key`."""
METADATA_PAIRS: Final = 16
METADATA_KEY_LIMIT: Final = 64
METADATA_VALUE_LIMIT: Final = 512

PING: Final = comment("ping")
"""A keep-alive comment."""


# ---- a call's body ----------------------------------------------------------------------------------------------------


class CallBody(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a call's body that the queue obeys; the body itself goes on byte for byte."""

    model: str = ""
    stream: bool | None = None
    service_tier: str | None = None

    @property
    def streaming(self) -> bool:
        """Whether the caller wants chunks."""
        return self.stream is True

    @property
    def priority(self) -> str:
        """The class that `service_tier` names."""
        return str(class_for_service_tier(self.service_tier))

    @property
    def labels(self) -> dict[str, str]:
        """What the task's `metadata` becomes."""
        return {}

    @property
    def background(self) -> bool:
        """Whether the task runs on without its caller."""
        return False


class LabelledBody(CallBody, frozen=True, kw_only=True):
    """A body of OpenAI's own API; Anthropic's `metadata` is another, which names the engine's user."""

    stream_options: dict[str, msgspec.Raw] | None = None
    metadata: dict[str, str] | None = None

    @property
    def labels(self) -> dict[str, str]:
        return self.metadata or {}


class ChatBody(LabelledBody, frozen=True, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: list[msgspec.Raw]


class ResponsesBody(LabelledBody, frozen=True, kw_only=True, rename={"in_background": "background"}):
    """`POST /v1/responses`."""

    in_background: bool | None = None

    @property
    def background(self) -> bool:
        return self.in_background is True


class MessagesBody(CallBody, frozen=True, kw_only=True):
    """`POST /v1/messages`, with `/count_tokens` below it."""

    messages: list[msgspec.Raw]


class SpeechBody(CallBody, frozen=True, kw_only=True):
    """`POST /v1/audio/speech`: an audio file, or its pieces as events."""

    stream_format: str | None = None

    @property
    def streaming(self) -> bool:
        return self.stream_format == "sse"


class FormBody(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of `POST /v1/audio/transcriptions`, `…/translations`: a form with a file, of which the queue reads these."""

    file: Annotated[str, msgspec.Meta(extra_json_schema={"format": "binary"})]
    model: str
    stream: bool = False


ENDPOINTS: Final[Mapping[str, type[CallBody]]] = {
    "chat/completions": ChatBody,
    "completions": LabelledBody,
    "embeddings": CallBody,
    "rerank": CallBody,
    "messages": MessagesBody,
    "messages/count_tokens": MessagesBody,
    "responses": ResponsesBody,
    "audio/speech": SpeechBody,
}
"""The endpoints under `/v1/` that take JSON, each with what it asks of a body beyond `model`."""

_DECODERS: Final = {endpoint: msgspec.json.Decoder(kind).decode for endpoint, kind in ENDPOINTS.items()}
_decode_any: Final = msgspec.json.Decoder(CallBody).decode

FORM_ENDPOINTS: Final = ("audio/transcriptions", "audio/translations")
"""The endpoints under `/v1/` that take a form with a file."""

_FORM_FIELDS: Final = frozenset({"model", "stream"})
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


def read_body(endpoint: str, body: bytes, *, named: bool = False) -> CallBody:
    """What the queue must know of a JSON body; `named`: its address says who answers, it needs no `model`.

    Raises `InvalidRequest`, which names the field or the byte.
    """
    try:
        call = _DECODERS.get(endpoint, _decode_any)(body)
        if not body.isascii():
            body.decode()
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error, body) from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not UTF-8: byte {error.start} is wrong") from error
    if not (call.model or named):
        raise InvalidRequest("`model` is missing or empty: it names a pool or an llm", param="model")
    check_single_model(body)
    if call.labels:
        check_metadata(call.labels)
    return call


def read_form_body(body: bytes, content_type: str) -> CallBody:
    """What the queue must know of a form. Raises `InvalidRequest`, which names the field."""
    fields = form_fields(body, content_type, _FORM_FIELDS)
    model = fields.get("model")
    if not model:
        raise InvalidRequest("the form has no field `model`: it names a pool or an llm", param="model")
    stream = fields.get("stream", "false").lower()
    if stream not in _FLAGS:
        raise InvalidRequest("`stream` is true or false", param="stream")
    return CallBody(model=model, stream=_FLAGS[stream])


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


def read_headers(headers: Mapping[bytes, bytes], mode: QueueMode = QueueMode.WAIT) -> CallHeaders:
    """The headers of a call, by lower-case names; `mode` counts where they say none.

    Raises `InvalidRequest`, which names the header.
    """
    given = [name for name in _READ if name in headers]
    if not given:
        return _PLAIN if mode is QueueMode.WAIT else CallHeaders(mode=mode)
    return CallHeaders(
        mode=_word(headers, b"inferpool-queue", _MODES, mode),
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
