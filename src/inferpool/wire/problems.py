"""The one table between the codes of errors, their HTTP status, the body that tells them.

Spec section 2: every error, native ones too, is `{"error": {"message", "type", "param", "code"}}`. All four keys are always
there, because the official clients read them. On Anthropic's routes the same object says `"type": "error"` beside it, with
Anthropic's own words for the family; its clients choose their exception by the status, as OpenAI's do.
"""

import math
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from inferpool.core.errors import (
    Code,
    InferpoolError,
    InvalidRequest,
    MethodNotAllowed,
    SessionReplaced,
    TaskFailed,
    Unauthenticated,
    Unavailable,
    WaitTimeout,
)
from inferpool.core.ids import TaskId
from inferpool.wire.dialects import Dialect
from inferpool.wire.sse import data_frame

RETRY_HEADER: Final = "x-should-retry"
"""`false` overrides the official clients' own rule, which runs a failed call three times."""

STATUSES: Final[Mapping[Code, int]] = {
    Code.INVALID_REQUEST: 400,
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.MODEL_NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.REQUEST_TIMEOUT: 408,
    Code.CONFLICT: 409,
    Code.NAME_IN_USE: 409,
    Code.SESSION_REPLACED: 409,
    Code.SESSION_INACTIVE: 409,
    Code.PROTOCOL_UNSUPPORTED: 409,
    Code.TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.RATE_LIMITED: 429,
    Code.CANCELLED: 499,
    Code.INTERNAL: 500,
    Code.ENGINE_ERROR: 502,
    Code.ENGINE_AUTH: 502,
    Code.ENGINE_REDIRECT: 502,
    Code.WORKER_LOST: 502,
    Code.PROTOCOL_BROKEN: 502,
    Code.LLM_UNAVAILABLE: 503,
    Code.QUEUE_FULL: 503,
    Code.SHUTTING_DOWN: 503,
    Code.STORE_UNAVAILABLE: 503,
    Code.WAIT_TIMEOUT: 504,
    Code.ENGINE_TIMEOUT: 504,
    Code.EXPIRED: 504,
}

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    499: "cancelled_error",
}
"""OpenAI's word for a family of errors; other 4xx are `invalid_request_error`, all 5xx `server_error`."""

_ANTHROPIC_TYPES: Final[Mapping[int, str]] = {
    413: "request_too_large",
    499: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Anthropic's word where it is another one; other 5xx are `api_error`."""

_AT_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$|missing required field `([^`]+)`|unknown field `([^`]+)`")


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What stands under `error`. `epoch` comes with `session_replaced` only: the stored one."""

    message: str
    type: str
    param: str | None = None
    code: str
    epoch: int | msgspec.UnsetType = msgspec.UNSET


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error. `type` is `error` where Anthropic's clients look for it."""

    error: ErrorDetail
    type: str | msgspec.UnsetType = msgspec.UNSET


class ErrorEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The last event of a stream of `responses` that broke off: OpenAI's `error` event, with our `error` in it."""

    type: str = "error"
    sequence_number: int
    code: str
    message: str
    param: str | None
    error: ErrorDetail


class Problem(msgspec.Struct, frozen=True):
    """An error as HTTP says it."""

    status: int
    body: bytes
    headers: list[tuple[str, str]]


_encode = msgspec.json.Encoder().encode


def problem_of(error: InferpoolError, task_id: TaskId | None = None, dialect: Dialect = Dialect.OPENAI) -> Problem:
    """The answer that tells `error`; `task_id` is the durable task that the failed call left behind, if any."""
    headers: list[tuple[str, str]] = []
    if isinstance(error, Unavailable):
        headers.append(("Retry-After", str(max(1, math.ceil(error.retry_after_s)))))
    if isinstance(error, Unauthenticated):
        headers.append(("WWW-Authenticate", "Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", ", ".join(error.allowed)))
    if task_id is not None or isinstance(error, WaitTimeout | TaskFailed) or error.code is Code.CONFLICT:
        # With a task behind it, asking again would make a second one; a conflict stays one.
        headers.append((RETRY_HEADER, "false"))
    return Problem(STATUSES[error.code], error_body(error, dialect), headers)


def error_body(error: InferpoolError, dialect: Dialect = Dialect.OPENAI) -> bytes:
    """The body alone."""
    anthropic = dialect is Dialect.MESSAGES
    return _encode(ErrorBody(_detail(error, dialect), "error" if anthropic else msgspec.UNSET))


def error_frame(error: InferpoolError, dialect: Dialect = Dialect.OPENAI, sequence_number: int = 0) -> bytes:
    """An error inside a stream: the official clients raise on it, while they take a silent stop for the end.

    `sequence_number` is that of the next event, which `responses` counts from 0.
    """
    if dialect is Dialect.OPENAI:
        return data_frame(error_body(error).decode())
    if dialect is Dialect.MESSAGES:
        return data_frame(error_body(error, dialect).decode(), "error")
    detail = _detail(error, dialect)
    event = ErrorEvent(
        sequence_number=sequence_number,
        code=detail.code,
        message=detail.message,
        param=detail.param,
        error=detail,
    )
    return data_frame(_encode(event).decode(), "error")


def _detail(error: InferpoolError, dialect: Dialect) -> ErrorDetail:
    return ErrorDetail(
        message=error.message,
        type=type_of(error.code, dialect),
        param=error.param,
        code=error.code.value,
        epoch=error.epoch if isinstance(error, SessionReplaced) else msgspec.UNSET,
    )


def type_of(code: Code, dialect: Dialect = Dialect.OPENAI) -> str:
    """The `type` that goes with a code."""
    status = STATUSES[code]
    if dialect is Dialect.MESSAGES and status in _ANTHROPIC_TYPES:
        return _ANTHROPIC_TYPES[status]
    server = "api_error" if dialect is Dialect.MESSAGES else "server_error"
    return _TYPES.get(status, server if status >= 500 else "invalid_request_error")


_LONE_SURROGATE: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""Half of a character's escape, as the one group; whole ones, with escaped backslashes, are passed over."""


def malformed(error: Exception, body: bytes = b"") -> InvalidRequest:
    """What a body that msgspec refused did wrong, with the field's path as `param`.

    `error` is a `msgspec.DecodeError` (its message names the byte), a `ValidationError` (the field) or a `RecursionError`.
    """
    if isinstance(error, RecursionError):
        return InvalidRequest("the body is nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        half = next((match for match in _LONE_SURROGATE.finditer(body) if match[1]), None)
        if half is not None:
            return InvalidRequest(
                f"the escape {half[1].decode()} at byte {half.start()} is half of a character: send both halves, or neither"
            )
        return InvalidRequest(f"the body is not valid JSON: {error}")
    return InvalidRequest(f"the body does not fit: {error}", param=_param(str(error)))


def _param(message: str) -> str | None:
    """The path of the field that a `ValidationError` speaks of, as `metadata[...]` or `request.model`."""
    parts = list(_AT_PATH.finditer(message))
    path = next((match[1] for match in parts if match[1]), "")
    field = next((match[2] or match[3] for match in parts if match[2] or match[3]), "")
    return ".".join(part for part in (path, field) if part) or None
