"""Answers a blocked caller: the engine's whole answer, or the reason why there is none."""

from typing import Final

from inferpool.core.clock import SECOND, Micros
from inferpool.core.errors import WaitTimeout
from inferpool.server.following import Following, line_headers
from inferpool.server.outcomes import reply_of
from inferpool.server.request import Reply

QUICK_S: Final = 0.25
"""An answer within this time needs nobody who listens for the client's leaving: that costs a task of the event loop."""
PATIENCE_SHARE: Final = 0.9
"""Of the client's own timeout: our answer must come before it gives up."""


async def answer_whole(following: Following, patience: Micros | None) -> Reply:
    """Wait for the end of the task. Raises `TaskFailed`, `WaitTimeout`, `ClientGone`."""
    limit_s = following.site.dispatch.options.wait_limit_s
    if patience is not None:
        limit_s = min(limit_s, patience / SECOND)
    wait_s = PATIENCE_SHARE * limit_s
    watcher = following.watcher
    outcome = await watcher.end(min(QUICK_S, wait_s))
    if outcome is None and wait_s > QUICK_S:
        with following.presence:
            outcome = await watcher.end(wait_s - QUICK_S)
    if outcome is None:
        following.request.extra += await line_headers(following.site, watcher.task_id)
        raise WaitTimeout(
            f"no answer within {wait_s:g} s; the task goes on: GET /api/v1/inference-tasks/{watcher.task_id} tells of it",
            watcher.task_id,
        )
    return reply_of(outcome, watcher.task_id)
