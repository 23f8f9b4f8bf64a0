"""ASGI's own vocabulary with exact types, so that the border to the HTTP server is crossed in one place."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TypeAlias, TypedDict

Scope: TypeAlias = MutableMapping[str, object]
Message: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Asgi: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]


class HttpScope(TypedDict, total=False):
    """The keys of an `http` scope that are read here (ASGI specification 2.3)."""

    type: str
    method: str
    path: str
    query_string: bytes
    headers: Headers
    client: tuple[str, int] | None
    path_params: dict[str, str]
    state: dict[str, object]
