"""Callers that put in task after task, whatever breaks: each repeats what broke off until it has its answer."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeAlias

import aiohttp

from tests.chaos.options import Options, lapse
from tests.engines.directives import answer_to
from tests.journeys.ledger import ENDS, Ledger, Sight, text_of
from tests.journeys.site import chat
from tests.journeys.watching import parsed

PATIENCE_S: Final = 120.0
"""Within this time each task has its end, whatever breaks."""
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=2.0, sock_read=4.0)
_BROKEN: Final = (aiohttp.ClientError, TimeoutError)
_AGAIN: Final = {408, 429, 500, 502, 503, 504}
"""Statuses upon which a caller asks again, under the same key."""


Way: TypeAlias = Callable[[str], Awaitable[None]]
"""Has one prompt answered."""


class Load:
    """All callers with their ledger."""

    def __init__(self, urls: list[str], ledger: Ledger, options: Options) -> None:
        self.ledger = ledger
        self.options = options
        self.done = 0
        self.under_way = 0
        """Tasks that were accepted, or asked for, without an end that their caller knows."""
        self.told: Counter[str] = Counter()
        """What callers were told in place of an answer, how often."""
        self._urls = urls
        self._chance = random.Random(options.seed)
        self._serial = 0
        self._stopping = False
        self._news = asyncio.Condition()
        self._http = aiohttp.ClientSession(timeout=_TIMEOUT, connector=aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def stop(self) -> None:
        """No more tasks: each caller ends with the one that it has."""
        self._stopping = True

    async def ends(self, more: int) -> None:
        """Until so many more tasks have ended."""
        until = self.done + more
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: self.done >= until)

    async def run(self) -> None:
        """All callers, until they are told to stop."""
        ways = (self._blocked, self._streamed, self._asynchronous)
        async with asyncio.TaskGroup() as callers:
            for number in range(self.options.callers):
                callers.create_task(self._call(ways[number % len(ways)]))

    async def _call(self, way: Way) -> None:
        while not self._stopping:
            self._serial += 1
            text = f"say {self.options.words} words every {self.options.every_ms} ms as t{self._serial}"
            self.under_way += 1
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await way(text)
            except TimeoutError as error:
                raise AssertionError(f"no answer to {text!r} in {PATIENCE_S} s; told: {self.told}") from error
            self.under_way -= 1
            self.done += 1
            async with self._news:
                self._news.notify_all()

    # ---- the three ways ------------------------------------------------------------------------------------------

    async def _blocked(self, text: str) -> None:
        """A blocked call of the OpenAI API, repeated under its key."""
        request = chat(text)
        headers = {"Inferpool-On-Disconnect": "continue", **_keyed(text)}
        while True:
            try:
                async with self._http.post(self._url("/v1/chat/completions"), data=request, headers=headers) as reply:
                    task_id, body = reply.headers.get("Inferpool-Task-Id"), await reply.read()
            except _BROKEN as error:
                await self._pause(type(error).__name__)
                continue
            if task_id is not None:
                self.ledger.accept(task_id, request)
            if reply.status == 200:
                assert task_id is not None
                assert text_of(body) == answer_to(text)
                self.ledger.answers[task_id] = body
                return
            if await self._gave_up(reply.status, body, task_id):
                return

    async def _gave_up(self, status: int, body: bytes, task_id: str | None) -> bool:
        """Whether the task has ended in this error; else the caller asks again in a moment."""
        code = str(json.loads(body)["error"]["code"])
        assert status in _AGAIN, body
        if code == "worker_lost" and task_id is not None:
            self.ledger.failing[task_id] = "error"
            return True
        await self._pause(code)
        return False

    async def _streamed(self, text: str) -> None:
        """A native stream, followed from server to server."""
        sight = self.ledger.watch(await self._accepted(text, streamed=True))
        while sight.end is None:
            try:
                await self._follow(sight)
            except _BROKEN as error:
                await self._pause(type(error).__name__)

    async def _follow(self, sight: Sight) -> None:
        url = self._url(f"/api/v1/inference-tasks/{sight.task_id}/stream")
        headers = {} if sight.last_id is None else {"Last-Event-ID": sight.last_id}
        async with self._http.get(url, headers=headers) as reply:
            if reply.status != 200:
                assert reply.status == 503, await reply.text()
                await self._pause("503 to a stream")
                return
            sight.connections += 1
            async with aclosing(parsed(reply.content)) as events:
                async for event in events:
                    sight.see(event)

    async def _asynchronous(self, text: str) -> None:
        """A task, asked for its end now and then."""
        task_id = await self._accepted(text, streamed=False)
        url = f"/api/v1/inference-tasks/{task_id}?wait=2"
        while True:
            try:
                async with self._http.get(self._url(url)) as reply:
                    row = await reply.json()
            except _BROKEN as error:
                await self._pause(type(error).__name__)
                continue
            if reply.status == 503:
                await self._pause("503 to a look")
                continue
            assert reply.status == 200, row
            if row["status"] in ENDS:
                assert row["status"] == "completed", row
                return

    async def _accepted(self, text: str, *, streamed: bool) -> str:
        """The id of a durable task, asked for until it is there; it may be tried as often as it takes."""
        request = chat(text, stream=True) if streamed else chat(text)
        body = b'{"max_tries":100,"request":' + request + b"}"
        while True:
            try:
                url = self._url("/api/v1/inference-tasks")
                async with self._http.post(url, data=body, headers=_keyed(text)) as reply:
                    row = await reply.json()
            except _BROKEN as error:
                await self._pause(type(error).__name__)
                continue
            if reply.status in {200, 202}:
                self.ledger.accept(row["id"], request)
                return str(row["id"])
            assert reply.status in _AGAIN, row
            await self._pause(f"{reply.status} to a task")

    def _url(self, path: str) -> str:
        return self._chance.choice(self._urls) + path

    async def _pause(self, why: str) -> None:
        self.told[why] += 1
        await lapse(0.1 + 0.2 * self._chance.random())


def _keyed(text: str) -> dict[str, str]:
    return {"Content-Type": "application/json", "Idempotency-Key": text.rpartition(" ")[2]}
