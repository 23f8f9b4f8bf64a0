"""Changes single values in a caller's JSON body, every other byte of which stays as it is.

Spec section 5, "bytes pass through": white space, order of keys, escapes, big numbers reach the engine as the caller wrote
them. The common body takes the fast way: a search, one cut, then a decode of the result that proves the cut right. Whatever
is odd about a body (the word twice, an escaped letter, a value of another type) leads to the exact scanner.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

import msgspec

from inferpool.core.errors import InvalidRequest


class DuplicateModel(InvalidRequest):
    """The body names `model` twice: which of them an engine obeys is anybody's guess."""


Fields: TypeAlias = dict[str, msgspec.Raw]

_MODEL: Final = b'"model"'
_OPTIONS: Final = b'"stream_options"'
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_BLANKS: Final = b" \t\n\r"
_SPACE: Final = rb"[ \t\n\r]*+"
_SPACES: Final = re.compile(_SPACE)
_ESCAPED_LETTER: Final = re.compile(rb"\\u00(?:5[fF]|[67])")
"""An escape that can stand for a letter of a key's name, in whatever string: a letter needs none."""
_MODEL_MEMBER: Final = re.compile(_MODEL + _SPACE + b":" + _SPACE + b"(" + _STRING + b")", re.DOTALL)
_KEY: Final = re.compile(rb"[{,]" + _SPACE + b"(" + _STRING + b")" + _SPACE + b":" + _SPACE, re.DOTALL)
_SCALAR: Final = re.compile(_STRING + rb"|[^,\]}\s]++", re.DOTALL)
_NEXT_BRACKET: Final = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+[{}\[\]]", re.DOTALL)


class _Model(msgspec.Struct, frozen=True):
    model: str


class _Options(msgspec.Struct, frozen=True):
    include_usage: object = None


class _Streaming(msgspec.Struct, frozen=True):
    stream_options: _Options | None = None


_decode_model: Final = msgspec.json.Decoder(_Model).decode
_decode_streaming: Final = msgspec.json.Decoder(_Streaming).decode
_decode_fields: Final = msgspec.json.Decoder(Fields).decode
_FAULTS: Final = (msgspec.DecodeError, UnicodeError, RecursionError)


class _Member(NamedTuple):
    """A member of an object: its name, the span of its value."""

    name: str
    start: int
    end: int


# ---- model ------------------------------------------------------------------------------------------------------------


def check_single_model(body: bytes) -> None:
    """Raise `DuplicateModel` for two top-level `model`, `InvalidRequest` for a doubtful body that is no JSON object."""
    if body.count(_MODEL) > 1 or _ESCAPED_LETTER.search(body) is not None:
        _model_of(body)


def splice_model(body: bytes, model: str) -> bytes:
    """The body with `model` as its top-level `model`, at the end where it has none.

    Raises `DuplicateModel`, or `InvalidRequest` for a body that is no JSON object.
    """
    written = msgspec.json.encode(model)
    if body.count(_MODEL) == 1 and _ESCAPED_LETTER.search(body) is None:
        found = _MODEL_MEMBER.search(body)
        if found is not None:
            spliced = b"%b%b%b" % (body[: found.start(1)], written, body[found.end(1) :])
            if _names(spliced, model):
                return spliced
    member = _model_of(body)
    if member is None:
        return _with_last(body, b'"model":' + written)
    return body[: member.start] + written + body[member.end :]


def _names(body: bytes, model: str) -> bool:
    """Whether this is the top-level model; a word inside another key, or deeper, is not."""
    try:
        return _decode_model(body).model == model
    except _FAULTS:
        return False


def _model_of(body: bytes) -> _Member | None:
    """The only top-level `model`."""
    found = [member for member in _members(body) if member.name == "model"]
    if len(found) > 1:
        raise DuplicateModel("`model` stands in the body twice: say it once", "model")
    return found[0] if found else None


# ---- usage ------------------------------------------------------------------------------------------------------------


def asked_for_usage(body: bytes) -> bool:
    """Whether the caller wants the extra chunk with the usage (`stream_options.include_usage`)."""
    try:
        options = _decode_streaming(body).stream_options
    except _FAULTS:
        return False
    return options is not None and options.include_usage is True


def ask_for_usage(body: bytes) -> bytes:
    """The body with `stream_options.include_usage` true.

    Options that are neither an object nor null stay: they are the engine's to refuse. Raises `InvalidRequest` for a body
    that is no JSON object.
    """
    if _OPTIONS not in body and _ESCAPED_LETTER.search(body) is None:
        asking = _with_last(body, b'"stream_options":{"include_usage":true}')
        if asked_for_usage(asking):
            return asking
    members = _members(body)
    options = [member for member in members if member.name == "stream_options"]
    if not options:
        return _with_last(body, b'"stream_options":{"include_usage":true}')
    for member in reversed(options):
        body = body[: member.start] + _asking(body[member.start : member.end]) + body[member.end :]
    return body


def _asking(options: bytes) -> bytes:
    """The value of `stream_options`, made to ask."""
    if options == b"null":
        return b'{"include_usage":true}'
    if not options.startswith(b"{"):
        return options
    asked = [member for member in _members(options) if member.name == "include_usage"]
    if not asked:
        return _with_last(options, b'"include_usage":true')
    for member in reversed(asked):
        options = options[: member.start] + b"true" + options[member.end :]
    return options


def _with_last(written: bytes, member: bytes) -> bytes:
    """The object with one more member at its end; what does not end as an object stays."""
    whole = written.rstrip(_BLANKS)
    if not whole.endswith(b"}"):
        return written
    before = whole[:-1].rstrip(_BLANKS)
    comma = b"" if before.endswith(b"{") else b","
    return b"%b%b%b%b" % (before, comma, member, written[len(before) :])


# ---- the exact scanner ------------------------------------------------------------------------------------------------


def _members(written: bytes) -> list[_Member]:
    """The members of a JSON object in order, repeated ones too. Raises `InvalidRequest` when it is none."""
    try:
        _decode_fields(written)
        return list(_scan(written))
    except _FAULTS as error:
        raise InvalidRequest(f"the body is no JSON object: {error}") from error


def _scan(written: bytes) -> Iterator[_Member]:
    """The members of what is known to be a JSON object."""
    at = written.index(b"{")
    while (key := _KEY.match(written, at)) is not None:
        end = _value_end(written, key.end())
        yield _Member(msgspec.json.decode(key[1], type=str), key.end(), end)
        at = _past(_SPACES, written, end)


def _value_end(written: bytes, start: int) -> int:
    """Where the value that begins at `start` ends: a bracket opens a depth, its partner closes it."""
    if written[start] not in b"{[":
        return _past(_SCALAR, written, start)
    at, depth = start + 1, 1
    while depth and at < len(written):
        at = _past(_NEXT_BRACKET, written, at)
        depth += 1 if written[at - 1] in b"{[" else -1
    return at


def _past(pattern: re.Pattern[bytes], written: bytes, at: int) -> int:
    """Where the pattern ends that begins at `at`; the very end where there is none."""
    match = pattern.match(written, at)
    return len(written) if match is None else match.end()
