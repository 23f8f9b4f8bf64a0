"""The frames that tell a worker what to run, what to stop."""

import base64

from inferpool.core.clock import SECOND, Micros
from inferpool.core.ids import SessionId, TaskId
from inferpool.core.task import ClaimedTask, NewTask
from inferpool.wire.sessions import INLINE_REQUEST_LIMIT, CancelRun, Infer, encode_frame


def infer_frame(session_id: SessionId, task: ClaimedTask, run_limit: Micros) -> bytes:
    """The frame that gives a claimed task to its worker: the body inside it, or where to fetch a big one."""
    request = request_base64 = request_url = None
    if len(task.request) > INLINE_REQUEST_LIMIT:
        request_url = f"/api/v1/sessions/{session_id}/requests/{task.task_id}/{task.attempt}"
    else:
        try:
            request = task.request.decode()
        except UnicodeDecodeError:
            request_base64 = base64.b64encode(task.request).decode()
    return encode_frame(
        Infer(
            task_id=task.task_id,
            attempt=task.attempt,
            llm_name=task.llm_name,
            endpoint=task.endpoint,
            content_type=task.content_type,
            headers=task.headers,
            request=request,
            request_base64=request_base64,
            request_url=request_url,
            streaming=task.streaming,
            run_s=run_limit / SECOND,
        )
    )


def cancel_frame(task_id: TaskId, attempt: int) -> bytes:
    """The frame that stops an attempt."""
    return encode_frame(CancelRun(task_id=task_id, attempt=attempt))


def claimed_at_once(task: NewTask, llm_name: str, attempt: int) -> ClaimedTask:
    """A task that was stored as claimed when it was enqueued."""
    return ClaimedTask(
        task_id=task.id,
        attempt=attempt,
        llm_name=llm_name,
        lane=task.routing.lane,
        endpoint=task.endpoint,
        request=task.request,
        content_type=task.content_type,
        headers=task.headers,
        streaming=task.streaming,
        priority=task.priority,
        rank=task.rank,
        owner=task.owner,
    )
