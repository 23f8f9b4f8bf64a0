"""What every request passes: its id, the open mode's checks, the handler, the problem in place of an exception."""

from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.exceptions import HTTPException

from inferpool.core.errors import InferpoolError, NotFound, StoreUnavailable
from inferpool.core.ids import NewId
from inferpool.dispatch.background import Log
from inferpool.server.asgi import Asgi, Receive, Scope, Send
from inferpool.server.identity import HEALTH, Doorman
from inferpool.server.request import ClientGone, Reply, Request
from inferpool.server.resource import REQUEST, Resource, deed_of
from inferpool.server.site import Site
from inferpool.wire.problems import error_frame, problem_of

_PATH_MOST: Final = 100
"""Characters of an unknown path that the audit keeps."""


class ServerParts(msgspec.Struct, frozen=True):
    """What comes from outside: the ids of requests, the log."""

    new_id: NewId
    log: Log


class Gate:
    """The outermost layer; nothing that a handler raises passes it."""

    def __init__(self, site: Site, parts: ServerParts, router: Asgi, exact: Mapping[str, Resource]) -> None:
        self._dispatch = site.dispatch
        self._doorman = Doorman(site)
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
            self._note(request, error)
            await self._refuse(request, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer, the log the place
            self._log(request, error)
            await self._refuse(request, InferpoolError(f"an unexpected error; the log tells more under {request.id}"))

    async def _serve(self, request: Request, asgi: tuple[Scope, Receive, Send]) -> None:
        if not self._dispatch.ready and request.path not in HEALTH:
            raise StoreUnavailable("this server is not ready yet, or no longer")
        await self._doorman.identify(request)
        resource = self._exact.get(request.path)
        if resource is not None:
            await resource.serve(request)
            return
        scope, receive, send = asgi
        scope[REQUEST] = request
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:  # the router's word for "no such path"
            raise NotFound(f"there is no {request.path[:200]!r} here") from error

    def _note(self, request: Request, error: InferpoolError) -> None:
        """A refusal for want of a right is kept; of a path that was not looked up yet, as it was asked for."""
        if error.denied:
            title = request.title or f"{request.method} {request.path[:_PATH_MOST]}"
            self._dispatch.trail.note(deed_of(request, title, error.code.value))

    async def _refuse(self, request: Request, error: InferpoolError) -> None:
        self._dispatch.tally.declined[error.code] += 1
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
