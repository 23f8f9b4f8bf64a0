"""How the end of a task is told to its caller: whole, or as the last frame of a stream."""

from typing import Final

import msgspec

from inferpool.core.errors import Code, TaskFailed
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.task import Answer, Fault
from inferpool.dispatch.strand import Outcome
from inferpool.server.request import Reply, header_value
from inferpool.wire.dialects import Dialect, frame_payloads
from inferpool.wire.problems import RETRY_HEADER, error_frame

_SILENT: Final = Fault(Code.INTERNAL, "the task ended without an answer")


class _EngineProblem(msgspec.Struct, frozen=True):
    error: dict[str, msgspec.Raw]


_decode_problem: Final = msgspec.json.Decoder(_EngineProblem).decode


def answer_of(outcome: Outcome) -> Answer | None:
    """The engine's answer, where it is what the caller gets: an expiry, say, wins over the last try's answer."""
    fault = outcome.fault
    return outcome.answer if fault is None or fault.code is Code.ENGINE_ERROR else None


def failure_of(outcome: Outcome, task_id: TaskId) -> TaskFailed:
    """Why the task has no answer."""
    fault = outcome.fault or _SILENT
    return TaskFailed(fault.code, fault.message, task_id)


def reply_of(outcome: Outcome, task_id: TaskId) -> Reply:
    """The engine's status, content type, body as they are. Raises `TaskFailed` when there are none."""
    answer = answer_of(outcome)
    if answer is None:
        raise failure_of(outcome, task_id)
    final = [] if outcome.status is Status.COMPLETED else [(RETRY_HEADER, "false")]
    return Reply(status=answer.status, body=answer.body, content_type=header_value(answer.content_type), headers=final)


def failure_frame(outcome: Outcome, task_id: TaskId, dialect: Dialect, sequence_number: int) -> bytes:
    """The end of a stream without an answer: in the engine's own words where it spoke as this API does."""
    answer = answer_of(outcome)
    if answer is not None and _tells_error(answer.body):
        return frame_payloads(dialect, [answer.body.decode()])
    return error_frame(failure_of(outcome, task_id), dialect, sequence_number)


def _tells_error(body: bytes) -> bool:
    try:
        body.decode()
        _decode_problem(body)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False
    return True
