"""Every error that inferpool raises on purpose, as one tree.

    InferpoolError                 has a stable `code`, a message for a person, the `param` at fault (or None)
    ├── RequestError               the asker's doing: asking again unchanged will not help
    │   ├── InvalidRequest         a field is missing or wrong; `param` names it
    │   ├── Unauthenticated
    │   ├── Forbidden
    │   ├── NotFound
    │   │   └── ModelNotFound      nobody ever published the name
    │   ├── Conflict               the thing is in a state that forbids this
    │   │   ├── NameInUse
    │   │   ├── SessionReplaced    carries the stored epoch
    │   │   ├── SessionInactive
    │   │   └── ProtocolUnsupported
    │   ├── MethodNotAllowed       carries the methods that the path takes
    │   ├── RequestTimeout         the request itself came too slowly
    │   ├── TooLarge
    │   └── UnsupportedMediaType
    ├── Unavailable                not now: carries `retry_after_s`
    │   ├── RateLimited
    │   ├── LlmUnavailable
    │   ├── QueueFull
    │   ├── ShuttingDown
    │   └── StoreUnavailable       the disk is full, the database is away
    ├── WaitTimeout                the caller's patience ended, the task goes on; carries the task's id
    ├── TaskFailed                 how an ended task ended; its code is the row's `error.code`
    └── ProtocolBroken             the peer answered what the protocol does not allow

The codes are those of spec section 2. `wire/problems.py` turns them into HTTP; nothing else does.
"""

from enum import StrEnum
from typing import Self

from inferpool.core.ids import TaskId


class Code(StrEnum):
    """Stable names of what went wrong: they stand in bodies, rows, logs, metrics."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    MODEL_NOT_FOUND = "model_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    NAME_IN_USE = "name_in_use"
    SESSION_REPLACED = "session_replaced"
    SESSION_INACTIVE = "session_inactive"
    PROTOCOL_UNSUPPORTED = "protocol_unsupported"
    REQUEST_TIMEOUT = "request_timeout"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RATE_LIMITED = "rate_limited"
    CANCELLED = "cancelled"
    ENGINE_ERROR = "engine_error"
    ENGINE_AUTH = "engine_auth"
    ENGINE_REDIRECT = "engine_redirect"
    WORKER_LOST = "worker_lost"
    LLM_UNAVAILABLE = "llm_unavailable"
    QUEUE_FULL = "queue_full"
    SHUTTING_DOWN = "shutting_down"
    STORE_UNAVAILABLE = "store_unavailable"
    WAIT_TIMEOUT = "wait_timeout"
    ENGINE_TIMEOUT = "engine_timeout"
    EXPIRED = "expired"
    INTERNAL = "internal"
    PROTOCOL_BROKEN = "protocol_broken"


class InferpoolError(Exception):
    """The root: a stable code, a sentence that says what to do, the field at fault."""

    code: Code = Code.INTERNAL
    denied = False
    """A right was missing, not the thing: the audit keeps it."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class RequestError(InferpoolError):
    """The request cannot succeed as it is."""

    code = Code.INVALID_REQUEST


class InvalidRequest(RequestError):
    """A field is missing, malformed or out of its limits."""


class Unauthenticated(RequestError):
    """No valid token came with the request."""

    code = Code.UNAUTHENTICATED
    denied = True


class Forbidden(RequestError):
    """The asker may see this but not do it, or the session's secret is wrong."""

    code = Code.FORBIDDEN
    denied = True


class NotFound(RequestError):
    """There is no such thing, or the asker may not see it (then `denied`): nobody can tell the two apart."""

    code = Code.NOT_FOUND

    @classmethod
    def unseen(cls, message: str, param: str | None = None) -> Self:
        """The thing is there, but not for the asker."""
        error = cls(message, param)
        error.denied = True
        return error


class ModelNotFound(NotFound):
    """Nobody ever published the name that the call gives as its model."""

    code = Code.MODEL_NOT_FOUND


class Conflict(RequestError):
    """The thing is in a state that forbids what was asked."""

    code = Code.CONFLICT


class NameInUse(Conflict):
    """An llm's name belongs to a public llm or to another active session."""

    code = Code.NAME_IN_USE


class SessionReplaced(Conflict):
    """Another registration of the session is newer; `epoch` is the stored one."""

    code = Code.SESSION_REPLACED

    def __init__(self, message: str, epoch: int) -> None:
        super().__init__(message)
        self.epoch = epoch


class SessionInactive(Conflict):
    """The session is unknown, inactive, or its server is gone: only registering revives it."""

    code = Code.SESSION_INACTIVE


class ProtocolUnsupported(Conflict):
    """Worker and server speak different protocols; the message says who must upgrade."""

    code = Code.PROTOCOL_UNSUPPORTED


class MethodNotAllowed(RequestError):
    """The path exists, `allowed` names its methods."""

    code = Code.METHOD_NOT_ALLOWED

    def __init__(self, message: str, allowed: list[str]) -> None:
        super().__init__(message)
        self.allowed = allowed


class RequestTimeout(RequestError):
    """The head of the request, or its body, took too long to come."""

    code = Code.REQUEST_TIMEOUT


class TooLarge(RequestError):
    """The body is over the limit that the message names."""

    code = Code.TOO_LARGE


class UnsupportedMediaType(RequestError):
    """The body came as something other than what the route takes."""

    code = Code.UNSUPPORTED_MEDIA_TYPE


class Unavailable(InferpoolError):
    """Not possible now; asking again after `retry_after_s` seconds may help."""

    code = Code.LLM_UNAVAILABLE

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(Unavailable):
    """The owner is over one of its limits."""

    code = Code.RATE_LIMITED


class LlmUnavailable(Unavailable):
    """No live session serves the llm, and the call would not queue."""

    code = Code.LLM_UNAVAILABLE


class QueueFull(Unavailable):
    """The queue holds as many tasks, or bytes, as it may."""

    code = Code.QUEUE_FULL


class ShuttingDown(Unavailable):
    """The server takes no new calls."""

    code = Code.SHUTTING_DOWN


class StoreUnavailable(Unavailable):
    """The store refused a write (a full disk, say); nothing of the request was kept."""

    code = Code.STORE_UNAVAILABLE


class WaitTimeout(InferpoolError):
    """The caller's wait is over; the task goes on under `task_id`."""

    code = Code.WAIT_TIMEOUT

    def __init__(self, message: str, task_id: TaskId) -> None:
        super().__init__(message)
        self.task_id = task_id


class TaskFailed(InferpoolError):
    """A task ended without an answer; `code` is the one that its row keeps."""

    def __init__(self, code: Code, message: str, task_id: TaskId) -> None:
        super().__init__(message)
        self.code = code
        self.task_id = task_id


class ProtocolBroken(InferpoolError):
    """A peer said something that the protocol does not know."""

    code = Code.PROTOCOL_BROKEN
