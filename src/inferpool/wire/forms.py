"""Reads single fields of a `multipart/form-data` body (RFC 7578), the form in which audio is uploaded; changes them in place.

As with JSON, the body goes on byte for byte: a field is known by the span of its value.
"""

import logging
from collections.abc import Mapping
from typing import Final, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from inferpool.core.errors import InvalidRequest

FORM: Final = b"multipart/form-data"
PART_LIMIT: Final = 1000
"""Fields and files of one form."""
VALUE_LIMIT: Final = 10_000
"""Bytes of a field that we read ourselves."""

_SILENT: Final = logging.getLogger("inferpool.forms")
_SILENT.disabled = True


class Part(NamedTuple):
    """A field or a file: its name, the span of its value in the body."""

    name: str
    start: int
    end: int


class _Reader:
    """What the parser's callbacks make of one body, given to the parser in one piece."""

    def __init__(self) -> None:
        self._header = b""
        self._disposition = b""
        self._start = self._end = 0
        self.parts: list[Part] = []
        self.whole = False

    def begin(self) -> None:
        """A part begins."""
        self._disposition = b""
        self._start = self._end = 0
        if len(self.parts) >= PART_LIMIT:
            raise InvalidRequest(f"a form has at most {PART_LIMIT} parts")

    def field(self, data: bytes, start: int, end: int) -> None:
        """A header's name."""
        self._header = data[start:end].lower()

    def value(self, data: bytes, start: int, end: int) -> None:
        """A header's value."""
        if self._header == b"content-disposition":
            self._disposition = data[start:end]

    def data(self, data: bytes, start: int, end: int) -> None:
        """The part's value, whose place counts."""
        self._start, self._end = start, end

    def end(self) -> None:
        """The part is complete."""
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if kind != b"form-data" or not name:
            raise InvalidRequest("each part of a form has a Content-Disposition of form-data with a name")
        self.parts.append(Part(name.decode("utf-8", "replace"), self._start, self._end))

    def finish(self) -> None:
        """The last boundary has come."""
        self.whole = True


def is_form(content_type: bytes) -> bool:
    """Whether a body of this type is a form."""
    return content_type.partition(b";")[0].strip().lower() == FORM


def read_form(body: bytes, content_type: str) -> list[Part]:
    """The parts in order. Raises `InvalidRequest` for what is no form, or not the whole of one."""
    boundary = _boundary(content_type)
    if not boundary:
        raise InvalidRequest("the form's Content-Type names no boundary", param="Content-Type")
    reader = _Reader()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.begin,
                "on_header_field": reader.field,
                "on_header_value": reader.value,
                "on_part_data": reader.data,
                "on_part_end": reader.end,
                "on_end": reader.finish,
            },
        )
        parser.logger = _SILENT  # it would quote the body
        parser.write(body)
    except FormParserError as error:
        raise InvalidRequest(f"the body is no multipart form: {error}") from error
    if not reader.whole:
        raise InvalidRequest("the body is no whole multipart form: its last boundary is missing")
    return reader.parts


def _boundary(content_type: str) -> bytes:
    return parse_options_header(content_type)[1].get(b"boundary", b"")


def without_boundary(body: bytes, content_type: str) -> bytes:
    """A form as it is whatever boundary its client drew; any other body unchanged."""
    boundary = _boundary(content_type) if content_type.startswith("multipart/") else b""
    return body.replace(b"--" + boundary, b"--") if boundary else body


def form_fields(body: bytes, content_type: str, names: frozenset[str]) -> Mapping[str, str]:
    """The values of the named fields. Raises `InvalidRequest` for one that comes twice, or is no short UTF-8 text."""
    fields: dict[str, str] = {}
    for part in read_form(body, content_type):
        if part.name not in names:
            continue
        if part.name in fields:
            raise InvalidRequest(f"`{part.name}` stands in the form twice: say it once", param=part.name)
        if part.end - part.start > VALUE_LIMIT:
            raise InvalidRequest(f"`{part.name}` has more than {VALUE_LIMIT} bytes", param=part.name)
        try:
            fields[part.name] = body[part.start : part.end].decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"`{part.name}` is not UTF-8", param=part.name) from error
    return fields


def splice_field(body: bytes, content_type: str, name: str, value: str) -> bytes:
    """The body with `value` in its only field `name`. Raises `InvalidRequest` unless one has a value already."""
    found = [part for part in read_form(body, content_type) if part.name == name and part.start < part.end]
    if len(found) != 1:
        raise InvalidRequest(f"`{name}` stands in the form {len(found)} times: say it once", param=name)
    return b"%b%b%b" % (body[: found[0].start], value.encode(), body[found[0].end :])
