"""From what a worker says of an attempt's end to the verb that the law knows for it."""

import base64
from typing import Final, TypeAlias

from inferpool.core.errors import Code, InvalidRequest
from inferpool.core.retry import Judgement, judge_status, retry_delay_us
from inferpool.core.task import Answer, Fault
from inferpool.store.protocol import Completion, Failure, Retry, Spoken
from inferpool.wire.sessions import Failed, Result, Stopped

End: TypeAlias = Completion | Retry | Failure

_DETAIL_LIMIT: Final = 4096
"""Characters of an engine's refusal of our key that the history keeps for operators."""
_MESSAGE_LIMIT: Final = 2000

_REFUSALS: Final = {
    Judgement.FAIL_AUTH: (Code.ENGINE_AUTH, "the engine refused the worker's credentials (HTTP {status})"),
    Judgement.FAIL_REDIRECT: (Code.ENGINE_REDIRECT, "the engine answered with a redirect (HTTP {status})"),
}


def end_of_result(spoken: Spoken, event: Result, jitter: float, chunks: bytes | None) -> End:
    """What an engine's HTTP answer means: its answer, a retry, or the end in an error (spec sections 3, 5).

    Raises `InvalidRequest` for a body that is no base64.
    """
    answer = Answer(event.status, event.content_type, body_of(event))
    judgement = judge_status(event.status)
    if judgement is Judgement.COMPLETE:
        return Completion(spoken=spoken, answer=answer, usage=event.usage, chunks=chunks)
    if judgement in _REFUSALS:
        code, message = _REFUSALS[judgement]
        detail = answer.body.decode(errors="replace")[:_DETAIL_LIMIT]
        return Failure(spoken=spoken, fault=Fault(code, message.format(status=event.status)), detail=detail)
    fault = Fault(Code.ENGINE_ERROR, f"the engine answered with HTTP {event.status}")
    if judgement is Judgement.FAIL:
        return Failure(spoken=spoken, fault=fault, answer=answer, usage=event.usage)
    return Retry(
        spoken=spoken,
        fault=fault,
        answer=answer,
        delay=retry_delay_us(spoken.attempt, jitter, event.retry_after_s),
        counts=judgement is Judgement.RETRY,
    )


def end_of_failure(spoken: Spoken, event: Failed, jitter: float) -> End:
    """What it means that no answer came: the run limit ends the task, anything else is tried again."""
    message = event.message[:_MESSAGE_LIMIT]
    if event.code == Code.ENGINE_TIMEOUT:
        return Failure(spoken=spoken, fault=Fault(Code.ENGINE_TIMEOUT, message))
    return Retry(
        spoken=spoken, fault=Fault(Code.ENGINE_ERROR, message), delay=retry_delay_us(spoken.attempt, jitter, None)
    )


def end_of_stop(spoken: Spoken, _: Stopped, jitter: float) -> End:
    """A worker stopped an attempt that nobody took from it: a failure like any other."""
    fault = Fault(Code.ENGINE_ERROR, "the worker stopped the attempt without being asked to")
    return Retry(spoken=spoken, fault=fault, delay=retry_delay_us(spoken.attempt, jitter, None))


def body_of(event: Result) -> bytes:
    """The answer's bytes. Raises `InvalidRequest` for a body that is no base64."""
    if event.body_base64 is None:
        return (event.body or "").encode()
    try:
        return base64.b64decode(event.body_base64, validate=True)
    except ValueError as error:
        raise InvalidRequest("`body_base64` is not base64", param="body_base64") from error
