"""A load balancer of the tests: each request goes to the server that its path is meant for."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import aiohttp
from aiohttp import web

Choice: TypeAlias = Callable[[str], str]
"""Gives the address of the server for a path."""

_NO_LIMIT: Final = aiohttp.ClientTimeout(total=None)
_OF_THE_HOP: Final = {"connection", "host", "transfer-encoding", "content-length", "keep-alive"}


class Crossing:
    """Hands requests on, answers back piece by piece."""

    def __init__(self, http: aiohttp.ClientSession, choose: Choice) -> None:
        self._http = http
        self.choose = choose

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        target = self.choose(request.path) + request.raw_path
        body, headers = await request.read(), _kept(request.headers.items())
        try:
            async with self._http.request(
                request.method, target, data=body, headers=headers, timeout=_NO_LIMIT
            ) as reply:
                response = web.StreamResponse(status=reply.status, headers=_kept(reply.headers.items()))
                await response.prepare(request)
                async for piece in reply.content.iter_any():
                    await response.write(piece)
                return response
        except aiohttp.ClientError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)


def _kept(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in _OF_THE_HOP}


@asynccontextmanager
async def crossing(http: aiohttp.ClientSession, choose: Choice) -> AsyncIterator[str]:
    """The address of a balancer that chooses like that."""
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", Crossing(http, choose).handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
