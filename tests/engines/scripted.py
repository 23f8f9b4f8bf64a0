"""A scripted OpenAI-compatible engine, steered by what the prompt says (see `directives`).

    python -m tests.engines.scripted --port 0 --model tiny        prints `engine ready at http://127.0.0.1:PORT/v1`

It speaks OpenAI's chat, completions, embeddings, lists its models, speaks Anthropic's messages. Beside these it tells what
happened:

    GET    /_calls                    every call: directive, state, chunks, hash of its body
    DELETE /_calls                    forget them, close every gate
    GET    /_wait?state=S&count=N     answers when N calls have been in the state started, waiting, finished, or cancelled
    POST   /_gate/NAME                opens a gate, for good
    POST   /_release                  lets every hanging call go on
"""

import argparse
import asyncio
import socket
import struct
import sys
from typing import Final, cast

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.engines.answers import error_body, model_list
from tests.engines.engine import JSON, ROUTES, ScriptedEngine

_encode: Final = msgspec.json.Encoder().encode
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_open: Final[dict[tuple[str, int], asyncio.Transport]] = {}
"""The connections of this process by their client's address."""


class Routes:
    """The engine's routes that are plain requests with plain answers."""

    def __init__(self, engine: ScriptedEngine, slots: int | None) -> None:
        self._engine = engine
        self._slots = slots

    async def models(self, request: Request) -> Response:
        return Response(model_list(self._engine.models), media_type=JSON)

    async def props(self, request: Request) -> Response:
        """As llama.cpp tells its slots; 404 as all the others."""
        if self._slots is None:
            return Response(error_body("no such route", "not_found"), 404, media_type=JSON)
        return Response(_encode({"total_slots": self._slots}), media_type=JSON)

    async def calls(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._engine.forget()
        return Response(_encode(self._engine.calls), media_type=JSON)

    async def wait(self, request: Request) -> Response:
        state, count = request.query_params.get("state", "finished"), int(request.query_params.get("count", "1"))
        return Response(_encode(await self._engine.wait_for(state, count)), media_type=JSON)

    async def gate(self, request: Request) -> Response:
        self._engine.open_gate(request.path_params["name"])
        return Response(status_code=204)

    async def release(self, request: Request) -> Response:
        self._engine.release()
        return Response(status_code=204)


class _Inference:
    """An ASGI application: Starlette takes an instance for one, a bound method for a handler of requests."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._engine.run(scope, receive, send)


def make_app(engine: ScriptedEngine, slots: int | None = None) -> Starlette:
    """The engine as an ASGI application. An answer that is left unfinished is a connection that broke."""
    routes, inference = Routes(engine, slots), _Inference(engine)
    return Starlette(
        routes=[
            *(Route(path, inference, methods=["POST"]) for path in ROUTES),
            Route("/v1/models", routes.models),
            Route("/props", routes.props),
            Route("/_calls", routes.calls, methods=["GET", "DELETE"]),
            Route("/_wait", routes.wait),
            Route("/_gate/{name}", routes.gate, methods=["POST"]),
            Route("/_release", routes.release, methods=["POST"]),
        ]
    )


class _Protocol(HttpToolsProtocol):
    """HTTP whose connections can be reset by the client's address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast("asyncio.Transport", transport)
        super().connection_made(connection)
        _open[transport.get_extra_info("peername")[:2]] = connection

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        _open.pop(self.transport.get_extra_info("peername")[:2], None)


def _reset(scope: Scope) -> None:
    """Close the connection at once, with a reset where the system gives its socket out."""
    transport = _open[tuple(scope["client"])]
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=0, help="0: any free one")
    options.add_argument("--model", action="append", help="an id to serve; may be given several times")
    options.add_argument("--slots", type=int, help="tell this many slots, as llama.cpp does")
    args = options.parse_args()

    listener = socket.create_server(("127.0.0.1", args.port), backlog=2048)
    app = make_app(ScriptedEngine(args.model or ["scripted"], _reset), args.slots)
    config = uvicorn.Config(
        app, http=_Protocol, log_config=None, log_level="critical", access_log=False, timeout_graceful_shutdown=1
    )
    sys.stdout.write(f"engine ready at http://127.0.0.1:{listener.getsockname()[1]}/v1\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
