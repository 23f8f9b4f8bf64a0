"""A watcher of a task's native stream, which comes back with `Last-Event-ID`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import aiohttp

from tests.journeys.ledger import Event, Sight
from tests.journeys.processes import PATIENCE_S
from tests.journeys.site import Site

_NO_LIMIT: Final = aiohttp.ClientTimeout(total=None)


class Watcher:
    """Follows one task over as many connections as it takes; its sight is in the ledger."""

    def __init__(self, site: Site, task_id: str) -> None:
        self._site = site
        self.sight: Sight = site.ledger.watch(task_id)
        self.connected = asyncio.Event()
        """Set once the server has answered a connection of it."""

    async def follow(self, most: int | None = None) -> None:
        """One connection: until the stream ends, breaks, or has brought `most` chunks."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                async with aclosing(self._events()) as events:
                    async for event in events:
                        self.sight.see(event)
                        if most is not None and event.name == "" and (most := most - 1) == 0:
                            return
            except aiohttp.ClientError:
                return

    async def _events(self) -> AsyncGenerator[Event, None]:
        sight = self.sight
        path = f"{self._site.server_url}/api/v1/inference-tasks/{sight.task_id}/stream"
        headers = {} if sight.last_id is None else {"Last-Event-ID": sight.last_id}
        async with self._site.http.get(path, headers=headers, timeout=_NO_LIMIT) as reply:
            assert reply.status == 200, await reply.text()
            sight.connections += 1
            self.connected.set()
            async with aclosing(parsed(reply.content)) as events:
                async for event in events:
                    yield event


async def parsed(lines: aiohttp.StreamReader) -> AsyncGenerator[Event, None]:
    """The events of a stream; what is cut off in the middle is none."""
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield Event(fields.get("id", ""), fields.get("event", ""), fields["data"])
            fields = {}
