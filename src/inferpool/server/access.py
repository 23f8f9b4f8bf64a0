"""Who may speak to an open server: this machine's own user, never a web page, never somebody behind a proxy.

Spec section 8, open mode. A page that the user visits can make the browser send requests here; it cannot choose the `Host` to
be a loopback name after a DNS rebinding, nor hide its `Origin`, nor send JSON without asking first.
"""

import re
from collections.abc import Mapping
from typing import Final

from inferpool.core.errors import Forbidden, UnsupportedMediaType

_LOOPBACK: Final = re.compile(rb"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_JSON: Final = re.compile(rb"""application/json(?:\s*;\s*charset="?utf-?8"?)?\s*""", re.IGNORECASE)


def admit(headers: Mapping[bytes, bytes]) -> None:
    """Let a request in, by its headers under lower-case names.

    Raises `Forbidden`, or `UnsupportedMediaType` for a body that is not plain JSON.
    """
    host = headers.get(b"host", b"")
    if not _LOOPBACK.fullmatch(host):
        raise Forbidden(
            f"an open server answers only to 127.0.0.1, localhost or [::1], not to the host {_shown(host)}: "
            "ask it under one of these names",
            param="Host",
        )
    origin = headers.get(b"origin")
    if origin is not None and origin.lower() != b"http://" + host.lower():
        raise Forbidden(
            f"an open server takes no requests of web pages from {_shown(origin)}: call it from a program instead",
            param="Origin",
        )
    _refuse_forwarded(headers)
    if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
        _demand_json(headers)


def _refuse_forwarded(headers: Mapping[bytes, bytes]) -> None:
    for name in headers:
        if name == b"forwarded" or name.startswith(b"x-forwarded-"):
            raise Forbidden(
                f"the header {name.decode('latin-1')} comes from a proxy, which would open this server to others: "
                "ask the server directly",
                param=name.decode("latin-1"),
            )


def _demand_json(headers: Mapping[bytes, bytes]) -> None:
    kind = headers.get(b"content-type", b"")
    if not _JSON.fullmatch(kind):
        raise UnsupportedMediaType(
            f"a body must come as application/json in UTF-8, not as {_shown(kind)}", param="Content-Type"
        )
    coding = headers.get(b"content-encoding", b"identity")
    if coding.lower() != b"identity":
        raise UnsupportedMediaType(f"a body must come uncompressed, not as {_shown(coding)}", param="Content-Encoding")


def _shown(value: bytes) -> str:
    """A header's value as a message may repeat it."""
    return repr(value[:100].decode("latin-1")) if value else "none"
