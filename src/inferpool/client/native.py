"""The native API as the command line calls it (spec section 5, "Async API")."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeAlias

import msgspec

from inferpool.client.pages import ANSWER_S, Query, decoded, path_of
from inferpool.client.tokens import TokenCalls
from inferpool.client.transport import TransportError
from inferpool.core.errors import Unavailable
from inferpool.core.lifecycle import TERMINAL
from inferpool.wire.registry import LlmJson, LlmList, PoolJson, PoolList, SessionJson, SessionList
from inferpool.wire.sse import SseParser
from inferpool.wire.tasks import AttemptJson, AttemptList, InferenceTask, TaskList

_TASKS: Final = "/api/v1/inference-tasks"
_LLMS: Final = "/api/v1/llms"
_POOLS: Final = "/api/v1/pools"
_SESSIONS: Final = "/api/v1/sessions"
_SILENCE_S: Final = 60.0
"""A stream carries a comment every 15 s; four missing ones mean that nobody is there."""


class Chunk(msgspec.Struct, frozen=True):
    """One chunk of a stream: the engine's payload."""

    id: str
    data: str


class Reset(msgspec.Struct, frozen=True):
    """All that was seen is void: a newer attempt begins at its first chunk."""

    id: str


class End(msgspec.Struct, frozen=True):
    """The task has ended like this."""

    id: str
    task: InferenceTask


Followed: TypeAlias = Chunk | Reset | End


class NativeClient(TokenCalls):
    """Every method raises `TransportError` when no server answers, or the error that the server told."""

    async def tasks(self, query: Query, limit: int) -> list[InferenceTask]:
        """The newest tasks that fit every filter, at most `limit`."""
        pages = self._pages(_TASKS, TaskList, query, limit)
        return [task async for page in pages for task in page.data][:limit]

    async def llms(self, limit: int) -> list[LlmJson]:
        """Llms by name."""
        return [llm async for page in self._pages(_LLMS, LlmList, {}, limit) for llm in page.data][:limit]

    async def pools(self, limit: int) -> list[PoolJson]:
        """Pools by name."""
        return [pool async for page in self._pages(_POOLS, PoolList, {}, limit) for pool in page.data][:limit]

    async def sessions(self, limit: int) -> list[SessionJson]:
        """Sessions, newest first."""
        pages = self._pages(_SESSIONS, SessionList, {}, limit)
        return [session async for page in pages for session in page.data][:limit]

    async def task(self, task_id: str, wait_s: int = 0) -> InferenceTask:
        """The task with its bodies; waits for its end up to `wait_s` (60 at most)."""
        query = f"?wait={wait_s}" if wait_s else ""
        return decoded(await self._get(path_of(_TASKS, task_id) + query, ANSWER_S + wait_s), InferenceTask)

    async def attempts(self, task_id: str) -> list[AttemptJson]:
        """The task's history, oldest first."""
        return decoded(await self._get(path_of(_TASKS, task_id) + "/attempts"), AttemptList).data

    async def llm(self, name: str) -> LlmJson:
        return decoded(await self._get(path_of(_LLMS, name)), LlmJson)

    async def pool(self, name: str) -> PoolJson:
        return decoded(await self._get(path_of(_POOLS, name)), PoolJson)

    async def session(self, session_id: str) -> SessionJson:
        return decoded(await self._get(path_of(_SESSIONS, session_id)), SessionJson)

    async def enqueue(self, body: bytes) -> InferenceTask:
        """Make a task of the JSON of `POST /api/v1/inference-tasks`."""
        headers = {"content-type": "application/json"}
        request = self._caller.request("POST", _TASKS, headers, body, ANSWER_S, ANSWER_S)
        return decoded(await self._caller.call(request), InferenceTask)

    async def cancel(self, task_id: str) -> InferenceTask:
        """Cancel the task; one that has ended comes back unchanged."""
        request = self._caller.request("DELETE", path_of(_TASKS, task_id), {}, b"", ANSWER_S, ANSWER_S)
        return decoded(await self._caller.call(request), InferenceTask)

    async def replay(self, task_id: str) -> InferenceTask:
        """Queue a task that ended in error, or was cancelled, again. Raises `Conflict` for any other."""
        request = self._caller.request("POST", path_of(_TASKS, task_id) + "/replay", {}, b"", ANSWER_S, ANSWER_S)
        return decoded(await self._caller.call(request), InferenceTask)

    async def purge(self, task_id: str) -> None:
        """Remove a task that has ended. Raises `Conflict` while it lives."""
        path = path_of(_TASKS, task_id) + "?purge=true"
        await self._caller.call(self._caller.request("DELETE", path, {}, b"", ANSWER_S, ANSWER_S))

    async def follow(
        self, task_id: str, last_event_id: str | None, pause: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[Followed]:
        """The task's stream to its end, over every cut: it goes on after the last thing seen.

        `pause` is awaited before each new connection. Raises what the server tells of the task (`NotFound`, say).
        """
        seen = last_event_id
        while True:
            # A server that is away for a moment, or going away: its rows are there, so are its workers' chunks.
            with contextlib.suppress(TransportError, Unavailable):
                async for event in self._stream(task_id, seen):
                    seen = event.id
                    yield event
                    if isinstance(event, End):
                        return
            await pause()

    async def _stream(self, task_id: str, seen: str | None) -> AsyncIterator[Followed]:
        headers = {"accept": "text/event-stream"} | ({"last-event-id": seen} if seen else {})
        path = path_of(_TASKS, task_id) + "/stream"
        request = self._caller.request("GET", path, headers, b"", ANSWER_S * 2, _SILENCE_S)
        async with self._caller.open(request) as reply:
            if reply.status == 204:  # the end was seen already, and stands
                yield End(seen or "", await self.task(task_id))
                return
            parser = SseParser()
            async for piece in reply.parts():
                for event in parser.feed(piece):
                    followed = _followed(event.name, event.id, event.data)
                    if followed is not None:
                        yield followed


def _followed(name: str, event_id: str, data: str) -> Followed | None:
    """What an event of the stream says; None for one that is no part of the answer."""
    if name == "reset":
        return Reset(event_id)
    if name in {status.value for status in TERMINAL}:
        return End(event_id, decoded(data.encode(), InferenceTask))
    return Chunk(event_id, data) if name == "message" else None
