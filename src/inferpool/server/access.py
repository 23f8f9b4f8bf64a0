"""Who may speak to an open server: this machine's own user, never a web page, never somebody behind a proxy.

Spec section 8, open mode. A page that the user visits can make the browser send requests here; it cannot choose the `Host` to
be a loopback name after a DNS rebinding, nor hide its `Origin`, nor send JSON without asking first.
"""

import re
from collections.abc import Mapping
from typing import Final

from inferpool.core.errors import Forbidden
from inferpool.server.media import Media, check_media, has_body, shown

_LOOPBACK: Final = re.compile(rb"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_OF_PROXIES: Final = (b"forwarded", b"x-forwarded-")
"""What proxies tell of their clients begins with these."""


def admit(headers: Mapping[bytes, bytes]) -> None:
    """Let a request in, by its headers under lower-case names.

    Raises `Forbidden`, or `UnsupportedMediaType` for a body that a web page could send without asking first: a form
    counts only where no page sent it.
    """
    host = headers.get(b"host", b"")
    if not _LOOPBACK.fullmatch(host):
        raise Forbidden(
            f"an open server answers only to 127.0.0.1, localhost or [::1], not to the host {shown(host)}: "
            "ask it under one of these names",
            param="Host",
        )
    origin = headers.get(b"origin")
    if origin is not None and origin.lower() != b"http://" + host.lower():
        raise Forbidden(
            f"an open server takes no requests of web pages from {shown(origin)}: call it from a program instead",
            param="Origin",
        )
    _refuse_forwarded(headers)
    if has_body(headers):
        check_media(headers, Media.EITHER if origin is None else Media.JSON)


def _refuse_forwarded(headers: Mapping[bytes, bytes]) -> None:
    for name in headers:
        if name.startswith(_OF_PROXIES):
            raise Forbidden(
                f"the header {name.decode('latin-1')} comes from a proxy, which would open this server to others: "
                "ask the server directly",
                param=name.decode("latin-1"),
            )
