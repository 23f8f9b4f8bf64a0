"""Reads an error body of a server back into the error that it was.

The body is that of spec section 2, `{"error": {"message", "type", "param", "code"}}`; what carries no such body (a proxy
in between, say) is judged by its status alone.
"""

from typing import Final

import msgspec

from inferpool.core.errors import (
    Code,
    Conflict,
    Forbidden,
    InferpoolError,
    InvalidRequest,
    LlmUnavailable,
    NameInUse,
    NotFound,
    ProtocolBroken,
    ProtocolUnsupported,
    RateLimited,
    SessionInactive,
    SessionReplaced,
    ShuttingDown,
    StoreUnavailable,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)


class _Problem(msgspec.Struct, frozen=True):
    message: str = ""
    param: str | None = None
    code: str | None = None
    epoch: int | None = None
    """The stored one, with `session_replaced`."""


class _Body(msgspec.Struct, frozen=True):
    error: _Problem


_decode = msgspec.json.Decoder(_Body).decode

_BY_CODE: Final[dict[str, type[InferpoolError]]] = {
    kind.code: kind
    for kind in (
        Conflict,
        Forbidden,
        InvalidRequest,
        LlmUnavailable,
        NameInUse,
        NotFound,
        ProtocolUnsupported,
        RateLimited,
        SessionInactive,
        ShuttingDown,
        StoreUnavailable,
        TooLarge,
        Unauthenticated,
        UnsupportedMediaType,
    )
}
_BY_STATUS: Final[dict[int, type[InferpoolError]]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    413: TooLarge,
    415: UnsupportedMediaType,
    429: RateLimited,
}


def refusal(status: int, body: bytes) -> InferpoolError:
    """The error that a server's answer of this status (not 2xx) tells."""
    try:
        problem = _decode(body).error
    except msgspec.MsgspecError:
        problem = _Problem(
            message=f"the server answered {status} in words that are not inferpool's: is its address right?"
        )
    if problem.code == Code.SESSION_REPLACED:
        return SessionReplaced(problem.message, problem.epoch or 0)
    kind = _BY_CODE.get(problem.code or "") or _BY_STATUS.get(status)
    if kind is None:
        kind = Unavailable if status >= 500 else ProtocolBroken
    error = kind(problem.message)
    error.param = problem.param
    return error
