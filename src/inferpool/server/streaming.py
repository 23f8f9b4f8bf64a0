"""Answers a caller of the OpenAI API that asked for a stream."""

import asyncio
from typing import Final

from inferpool.core.errors import Code, TaskFailed
from inferpool.core.lifecycle import Status
from inferpool.dispatch.feed import Watcher
from inferpool.dispatch.strand import Chunks, Ended, Restarted, Seen
from inferpool.server.following import Following, position_header
from inferpool.server.outcomes import answer_of, error_frame, failure_frame, reply_of
from inferpool.server.pump import pump
from inferpool.server.request import EVENT_STREAM, Reply
from inferpool.wire.openai import DONE, frame_chunks

_RESTARTED: Final = "the worker was lost after a part of the answer was sent; the task goes on, ask for it by its id"


async def answer_streamed(following: Following) -> Reply | None:
    """Withhold the head until the engine's status is known, so that its 400 stays a 400; then send what comes.

    Raises `ClientGone`, or before the head is sent `TaskFailed`.
    """
    watcher = following.watcher
    with following.presence:
        news = await _first_news(watcher, following.site.options.headers_wait_s)
        if len(news) == 1 and isinstance(news[0], Ended) and news[0].outcome.status is not Status.COMPLETED:
            return reply_of(news[0].outcome, watcher.task_id)
        headers = [] if news or watcher.head is not None else await position_header(following.site, following)
        await following.request.start(_status(watcher), [*EVENT_STREAM, *headers])
        await pump(following.request, watcher, OpenAiFraming(watcher), following.site.options.comment_s, news)
    return None


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


class OpenAiFraming:
    """Chunks in `data:` lines without ids, then `[DONE]`, or an error."""

    __slots__ = ("_sent", "_watcher")

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._sent = False

    def chunks(self, seen: Chunks) -> bytes:
        """The payloads, framed anew."""
        self._sent = True
        return frame_chunks(seen.payloads)

    def restarted(self, seen: Restarted) -> tuple[bytes, bool]:
        """What was shown cannot be taken back in this API, so the stream ends; the task goes on."""
        return error_frame(TaskFailed(Code.WORKER_LOST, _RESTARTED, self._watcher.task_id)), True

    async def ended(self, seen: Ended) -> bytes:
        """The mark of a whole answer, or the error: a stream never just stops."""
        outcome = seen.outcome
        if outcome.status is not Status.COMPLETED:
            return failure_frame(outcome, self._watcher.task_id)
        answer = answer_of(outcome)
        if self._sent or answer is None:
            return DONE
        # The engine did not stream, or the chunks are no longer kept: the whole answer is one chunk.
        return frame_chunks([answer.body.decode(errors="replace")]) + DONE
