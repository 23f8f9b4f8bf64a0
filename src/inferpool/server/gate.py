"""What every request passes: its id, the open mode's checks, the handler, the problem in place of an exception."""

from collections.abc import Mapping
from typing import Final, cast

import msgspec
from starlette.exceptions import HTTPException

from inferpool.core.errors import InferpoolError, MethodNotAllowed, NotFound, StoreUnavailable
from inferpool.core.ids import NewId
from inferpool.dispatch.background import Log
from inferpool.server.access import admit
from inferpool.server.asgi import Asgi, HttpScope, Receive, Scope, Send
from inferpool.server.request import ClientGone, Reply, Request
from inferpool.server.site import Handler, Site
from inferpool.wire.problems import error_frame, problem_of

_REQUEST: Final = "inferpool.request"
"""Where the scope keeps the request on its way through Starlette's router."""
_HEALTH: Final = frozenset({"/healthz", "/readyz"})
"""Paths that a server answers before it is ready."""


class ServerParts(msgspec.Struct, frozen=True):
    """What comes from outside: the ids of requests, the log."""

    new_id: NewId
    log: Log


class Resource:
    """One path with a handler a method."""

    def __init__(self, site: Site, handlers: Mapping[str, Handler]) -> None:
        self._site = site
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As Starlette's router calls it, once it found the path."""
        request = cast("Request", scope[_REQUEST])
        request.params = cast("HttpScope", scope)["path_params"]
        await self.serve(request)

    async def serve(self, request: Request) -> None:
        """Run the handler, send its reply. Raises `MethodNotAllowed`, or what the handler raises."""
        handler = self._handlers.get(request.method)
        if handler is None:
            raise MethodNotAllowed(f"{request.path} does not take {request.method}", list(self._handlers))
        reply = await handler(self._site, request)
        if reply is not None:
            await request.answer(reply)


class Gate:
    """The outermost layer; nothing that a handler raises passes it."""

    def __init__(self, site: Site, parts: ServerParts, router: Asgi, exact: Mapping[str, Resource]) -> None:
        self._dispatch = site.dispatch
        self._parts = parts
        self._router = router
        self._exact = exact
        """Resources whose path holds no parameter: found without the router's list."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        request = Request(scope, receive, send, self._parts.new_id())
        try:
            await self._serve(request, (scope, receive, send))
        except ClientGone:
            return
        except InferpoolError as error:
            await self._refuse(request, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer, the log the place
            self._log(request, error)
            await self._refuse(request, InferpoolError(f"an unexpected error; the log tells more under {request.id}"))

    async def _serve(self, request: Request, asgi: tuple[Scope, Receive, Send]) -> None:
        admit(request.headers)
        if not self._dispatch.ready and request.path not in _HEALTH:
            raise StoreUnavailable("this server is not ready yet, or no longer")
        resource = self._exact.get(request.path)
        if resource is not None:
            await resource.serve(request)
            return
        scope, receive, send = asgi
        scope[_REQUEST] = request
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:  # the router's word for "no such path"
            raise NotFound(f"there is no {request.path[:200]!r} here") from error

    async def _refuse(self, request: Request, error: InferpoolError) -> None:
        if request.started:
            await request.write(error_frame(error, request.dialect), more=False)  # only streams fail after their head
            return
        problem = problem_of(error, request.task_id, request.dialect)
        await request.answer(Reply(status=problem.status, body=problem.body, headers=problem.headers))

    def _log(self, request: Request, error: Exception) -> None:
        """Where it happened, never what the body held: a message may quote it."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        self._parts.log.error(
            "request failed", request_id=request.id, method=request.method, error=type(error).__name__, place=place
        )
