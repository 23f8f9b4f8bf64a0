"""One path with its routes: judges whether the caller may, runs the handler, leaves a line in the audit."""

import contextlib
from collections.abc import Sequence
from typing import Final, cast

from inferpool.core.access import Judgement, Scope, judge
from inferpool.core.errors import Forbidden, InferpoolError, MethodNotAllowed, NotFound
from inferpool.dispatch.audit import Deed
from inferpool.server.asgi import HttpScope, Receive, Send
from inferpool.server.asgi import Scope as AsgiScope
from inferpool.server.request import Reply, Request
from inferpool.server.routes import Route
from inferpool.server.site import Site

REQUEST: Final = "inferpool.request"
"""Where the scope keeps the request on its way through Starlette's router."""
DONE: Final = "done"
"""The outcome of what was not refused."""
_SOMEBODY: Final = ""
"""An owner that is no subject: whose a thing is, is not known before it is looked up."""


class Resource:
    """One path with a route a method."""

    def __init__(self, site: Site, routes: Sequence[Route]) -> None:
        self._site = site
        self._trail = site.dispatch.trail
        self._routes = {route.method: (route, route.title, route.audited) for route in routes}

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """As Starlette's router calls it, once it found the path."""
        request = cast("Request", scope[REQUEST])
        request.params = cast("HttpScope", scope)["path_params"]
        await self.serve(request)

    async def serve(self, request: Request) -> None:
        """Run the handler, send its reply.

        Raises `MethodNotAllowed`, `Forbidden`, `NotFound`, or what the handler raises.
        """
        found = self._routes.get(request.method)
        if found is None:
            raise MethodNotAllowed(f"{request.path} does not take {request.method}", list(self._routes))
        route, request.title, audited = found
        _allow(request, route)
        if not audited:
            reply = await route.handler(self._site, request)
        else:
            reply = await self._audited(request, route)
        if reply is not None:
            await request.answer(reply)

    async def _audited(self, request: Request, route: Route) -> Reply | None:
        """Run a handler that changes something; what it changed is in the audit before it is answered."""
        changed = False
        try:
            reply = await route.handler(self._site, request)
            changed = True
        finally:
            if changed or request.task_id is not None:  # a task stands, even if its caller did not get the answer
                self._trail.note(deed_of(request, request.title, DONE))
        if not route.frequent:
            with contextlib.suppress(InferpoolError):  # the store is full: it is done, the next second tries again
                await self._trail.flush()
        return reply


def _allow(request: Request, route: Route) -> None:
    """Let the caller on, as far as its right reaches. Raises `Forbidden`, or `NotFound` for what it may not see."""
    if route.right is None:
        return
    scope = request.caller.scope(route.right)
    if scope is Scope.OWN:
        request.only = request.caller.subject
    elif scope is None:
        owner = _SOMEBODY if route.about_one else None
        if judge(request.caller, route.right, owner) is Judgement.UNSEEN:
            raise NotFound.unseen(f"there is no {request.path[:200]!r} here")
        raise Forbidden(
            f"a token of the role {request.caller.role} may not {route.right.action} {route.right.resource}: "
            "ask an admin for one of another role"
        )


def deed_of(request: Request, title: str, outcome: str) -> Deed:
    """What the audit keeps of a request; of tasks no single one, for they tell of themselves."""
    thing = request.thing or next(iter(request.params.values()), "")
    caller = request.caller
    return Deed(caller.subject, caller.token_id, title, thing[:200], request.address, outcome)
