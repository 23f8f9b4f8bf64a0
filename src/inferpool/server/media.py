"""The media types in which a route takes its body."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from inferpool.core.errors import UnsupportedMediaType
from inferpool.wire.forms import is_form

JSON: Final = b"application/json"
_PLAIN_JSON: Final = re.compile(rb"""application/json(?:\s*;\s*charset="?utf-?8"?)?\s*""", re.IGNORECASE)


class Media(StrEnum):
    """What a body may be."""

    JSON = "application/json in UTF-8"
    FORM = "multipart/form-data"
    EITHER = "application/json in UTF-8 or multipart/form-data"


def check_media(headers: Mapping[bytes, bytes], takes: Media) -> None:
    """Raise `UnsupportedMediaType` for a body in another form; headers under lower-case names. No body is any form."""
    kind = headers.get(b"content-type", b"")
    json = kind == JSON or _PLAIN_JSON.fullmatch(kind) is not None
    fits = json if takes is Media.JSON else is_form(kind) if takes is Media.FORM else json or is_form(kind)
    if not fits and has_body(headers):
        raise UnsupportedMediaType(
            f"a body must come as {takes.value}, not as {shown(kind)}: set Content-Type", param="Content-Type"
        )
    coding = headers.get(b"content-encoding")
    if coding is not None and coding.lower() != b"identity":
        raise UnsupportedMediaType(f"a body must come uncompressed, not as {shown(coding)}", param="Content-Encoding")


def has_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the request announces a body."""
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def shown(value: bytes) -> str:
    """A header's value as a message may repeat it."""
    return repr(value[:100].decode("latin-1")) if value else "none"
