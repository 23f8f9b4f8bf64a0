"""Answers a caller of an API under `/v1/` that asked for a stream."""

import asyncio
from typing import Final

from inferpool.core.errors import Code, TaskFailed
from inferpool.core.lifecycle import Status
from inferpool.dispatch.strand import Chunks, Ended, Outcome, Restarted, Seen
from inferpool.dispatch.watcher import Watcher
from inferpool.server.following import Following, line_headers
from inferpool.server.outcomes import answer_of, failure_frame, reply_of
from inferpool.server.pump import pump
from inferpool.server.request import EVENT_STREAM, Reply
from inferpool.wire.dialects import Dialect, frame_payloads
from inferpool.wire.openai import PING
from inferpool.wire.problems import error_frame

_JSON: Final = "application/json"
_RESTARTED: Final = "the worker was lost after a part of the answer was sent; the task goes on, ask for it by its id"
_UNSTREAMED: Final = "the engine answered in one piece that is no text; ask for the task by its id to get it"


async def answer_streamed(following: Following) -> Reply | None:
    """Withhold the head until the engine's status is known, so that its 400 stays a 400; then send what comes.

    Raises `ClientGone`, or before the head is sent `TaskFailed`.
    """
    watcher = following.watcher
    with following.presence:
        news = await _first_news(watcher, following.site.options.headers_wait_s)
        dialect = following.request.dialect
        if len(news) == 1 and isinstance(news[0], Ended) and _is_whole(news[0].outcome, dialect):
            return reply_of(news[0].outcome, watcher.task_id)
        headers = [] if news or watcher.head is not None else await line_headers(following.site, watcher.task_id)
        await following.request.start(_status(watcher), [*EVENT_STREAM, *headers])
        await pump(following.request, watcher, CallFraming(watcher, dialect), following.site.options.comment_s, news)
    return None


def _is_whole(outcome: Outcome, dialect: Dialect) -> bool:
    """Whether the caller gets an end without chunks as it is: a refusal, or an answer that is no payload of a stream."""
    if outcome.status is not Status.COMPLETED or outcome.answer is None:
        return True
    return dialect is not Dialect.OPENAI or not outcome.answer.content_type.startswith(_JSON)


async def _first_news(watcher: Watcher, limit_s: float) -> list[Seen]:
    """What was seen by the time that the engine's status is known, at most `limit_s` from now."""
    loop = asyncio.get_running_loop()
    until = loop.time() + limit_s
    news = watcher.take()
    while not news and watcher.head is None and (left := until - loop.time()) > 0:
        await watcher.wait(left)
        news = watcher.take()
    return news


def _status(watcher: Watcher) -> int:
    """The engine's own status, as far as it is known."""
    if watcher.head is not None:
        return watcher.head.status
    answer = None if watcher.outcome is None else answer_of(watcher.outcome)
    return 200 if answer is None or answer.status >= 300 else answer.status


class CallFraming:
    """Chunks as the endpoint's dialect frames them, without ids, then its end mark, or an error."""

    __slots__ = ("_dialect", "_sent", "_watcher")

    def __init__(self, watcher: Watcher, dialect: Dialect) -> None:
        self._watcher = watcher
        self._dialect = dialect
        self._sent = 0

    def chunks(self, seen: Chunks) -> bytes:
        """The payloads, framed anew."""
        self._sent += len(seen.payloads)
        return frame_payloads(self._dialect, seen.payloads)

    def restarted(self, seen: Restarted) -> tuple[bytes, bool]:
        """What was shown cannot be taken back in this API, so the stream ends; the task goes on."""
        return self._error(Code.WORKER_LOST, _RESTARTED), True

    async def ended(self, seen: Ended) -> bytes:
        """The mark of a whole answer, or the error: a stream never just stops."""
        outcome = seen.outcome
        if outcome.status is not Status.COMPLETED:
            return failure_frame(outcome, self._watcher.task_id, self._dialect, self._sent)
        answer = answer_of(outcome)
        if self._sent or answer is None:
            return self._dialect.end
        # The engine did not stream, or the chunks are no longer kept: the whole answer is one chunk.
        try:
            return frame_payloads(self._dialect, [answer.body.decode()]) + self._dialect.end
        except UnicodeDecodeError:
            return self._error(Code.ENGINE_ERROR, _UNSTREAMED)

    async def idle(self) -> bytes:
        """A comment."""
        return PING

    def _error(self, code: Code, message: str) -> bytes:
        return error_frame(TaskFailed(code, message, self._watcher.task_id), self._dialect, self._sent)
