"""The limit of a relayed chunk: a bare Starlette proxy that sends each frame of the engine's stream on."""

import argparse
from collections.abc import AsyncIterator

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--engine", type=int, required=True)
options = parser.parse_args()
sessions: list[aiohttp.ClientSession] = []


async def relay(request: Request) -> StreamingResponse:
    """Ask the engine with the caller's body."""
    if not sessions:
        sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    return StreamingResponse(_frames(await request.body()), media_type="text/event-stream")


async def _frames(body: bytes) -> AsyncIterator[bytes]:
    async with sessions[0].post(f"http://127.0.0.1:{options.engine}/v1/chat/completions", data=body) as answer:
        rest = b""
        async for part in answer.content.iter_any():
            *whole, rest = (rest + part).split(b"\n\n")
            for frame in whole:
                yield frame + b"\n\n"


app = Starlette(routes=[Route("/v1/chat/completions", relay, methods=["POST"])])
uvicorn.run(app, port=options.port, loop="uvloop", http="httptools", log_level="error", access_log=False)
