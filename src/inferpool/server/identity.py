"""Who asks: the bearer of a token, or this machine's own user while the server is open."""

from typing import Final

from inferpool.core.access import LOCAL_CALLER
from inferpool.core.errors import Unauthenticated
from inferpool.server.access import admit
from inferpool.server.request import Request
from inferpool.server.site import Site

HEALTH: Final = frozenset({"/healthz", "/readyz"})
"""Paths that ask nobody for a token, that a server answers before it is ready."""
_BEARER: Final = b"bearer "


class Doorman:
    """Names the caller of each request."""

    def __init__(self, site: Site) -> None:
        self._access = site.dispatch.access
        self._insecure = site.options.insecure

    async def identify(self, request: Request) -> None:
        """Set the request's caller.

        Raises `Unauthenticated` without a valid token; of an open server what `admit` raises.
        """
        if self._access.open:
            if not self._insecure:
                admit(request.headers)
            request.caller = LOCAL_CALLER
            return
        if request.path in HEALTH:
            return
        token = _token_of(request)
        caller = self._access.known(token) or await self._access.find(token)
        if caller is None:
            raise Unauthenticated("this token is unknown, was revoked or has expired: ask an admin for another")
        request.caller = caller


def _token_of(request: Request) -> bytes:
    """The token as OpenAI's clients send it, or as Anthropic's do."""
    told = request.headers.get(b"authorization", b"")
    token = told[len(_BEARER) :].strip() if told[: len(_BEARER)].lower() == _BEARER else b""
    token = token or request.headers.get(b"x-api-key", b"")
    if not token:
        raise Unauthenticated(
            "this server asks for a token: send `Authorization: Bearer ip_…` (workers, commands: INFERPOOL_TOKEN or --token)",
            param="Authorization",
        )
    return token
