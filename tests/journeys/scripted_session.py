"""A worker without an engine: many of them fit in one process, each over its own connections."""

import asyncio
import json
from collections import Counter
from contextlib import aclosing
from typing import Final

import aiohttp
import uuid_utils

from tests.engines.directives import answer_to
from tests.journeys.ledger import prompt_of
from tests.journeys.watching import parsed

HEARTBEAT_S: Final = 2.0
SLOTS: Final = 2
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=30.0)


class Refused(Exception):
    """The server said no."""


class ScriptedSession:
    """Holds what it is given until it is told to answer; goes to the next server when its own is gone."""

    def __init__(self, http: aiohttp.ClientSession, urls: list[str], number: int) -> None:
        self.seen: Counter[str] = Counter()
        """How often each task was handed to it."""
        self.server = number % len(urls)
        self.epoch = 0
        self.bound = asyncio.Event()
        self.held: dict[tuple[str, int], str] = {}
        """The answers that it will give."""
        self._http = http
        self._urls = urls
        self._name = f"words@box-{number}"
        self._id = str(uuid_utils.uuid7())
        self._answering = False
        self._news = asyncio.Event()

    def answer(self) -> None:
        """From now on everything is answered at once."""
        self._answering = True
        self._news.set()

    async def run(self) -> None:
        """Stay linked, until cancelled."""
        while True:
            try:
                await self._stay()
            except (aiohttp.ClientError, TimeoutError, Refused):
                self.bound.clear()
                self.server = (self.server + 1) % len(self._urls)

    async def _stay(self) -> None:
        await self._register()
        async with self._http.get(f"{self._path}/channel", headers=self._headers, timeout=_TIMEOUT) as channel:
            await _check(channel)
            self.bound.set()
            ways = [asyncio.ensure_future(self._hear(channel.content)), asyncio.ensure_future(self._speak())]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                ends = await asyncio.gather(*ways, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _register(self) -> None:
        self.epoch += 1
        holding = [{"task_id": one, "attempt": attempt, "last_seq": 0, "ended": False} for one, attempt in self.held]
        llm = {"name": self._name, "model": "words", "pool_name": "words", "engine": "e", "slots": SLOTS}
        wish = {
            "protocol": 1,
            "session_id": self._id,
            "epoch": self.epoch,
            "worker": {"name": self._name, "version": "0.1", "labels": {}},
            "llms": [llm],
            "holding": holding,
        }
        url = f"{self._urls[self.server]}/api/v1/sessions"
        async with self._http.post(url, json=wish, headers=self._headers, timeout=_TIMEOUT) as reply:
            await _check(reply)
            for dropped in (await reply.json())["drop"]:
                self.held.pop((dropped["task_id"], dropped["attempt"]), None)

    async def _hear(self, lines: aiohttp.StreamReader) -> None:
        async with aclosing(parsed(lines)) as events:
            async for event in events:
                if event.name == "infer":
                    frame = json.loads(event.data)
                    self.seen[frame["task_id"]] += 1
                    said = {"message": {"role": "assistant", "content": answer_to(prompt_of(frame["request"]))}}
                    self.held[frame["task_id"], frame["attempt"]] = json.dumps({"choices": [said]})
                    self._news.set()
        raise Refused("the channel ended")

    async def _speak(self) -> None:
        while True:
            await self._say(dict(self.held) if self._answering else {})
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._news.wait()
            except TimeoutError:
                continue
            self._news.clear()

    async def _say(self, answers: dict[tuple[str, int], str]) -> None:
        """One batch of results; an empty one is a heartbeat."""
        events = [
            {
                "type": "result",
                "task_id": task_id,
                "attempt": attempt,
                "last_seq": 0,
                "status": 200,
                **_JSON,
                "body": body,
            }
            for (task_id, attempt), body in answers.items()
        ]
        batch = {"events": events}
        async with self._http.post(
            f"{self._path}/events", json=batch, headers=self._headers, timeout=_TIMEOUT
        ) as reply:
            await _check(reply)
            assert (await reply.json())["refused"] == []
        for key in answers:
            del self.held[key]

    @property
    def _path(self) -> str:
        return f"{self._urls[self.server]}/api/v1/sessions/{self._id}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Inferpool-Session-Secret": f"secret of {self._name}", "Inferpool-Session-Epoch": str(self.epoch)}


_JSON: Final = {"content_type": "application/json"}


async def _check(reply: aiohttp.ClientResponse) -> None:
    if reply.status != 200:
        raise Refused(await reply.text())
