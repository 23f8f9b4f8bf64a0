"""The ASGI application: every route of the table behind one gate."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router

from inferpool.dispatch.service import Dispatch
from inferpool.server.asgi import Receive, Scope, Send
from inferpool.server.document import document
from inferpool.server.gate import Gate, ServerParts
from inferpool.server.options import ServerOptions
from inferpool.server.resource import Resource
from inferpool.server.routes import ROUTES, Route
from inferpool.server.site import Site


def build_app(dispatch: Dispatch, options: ServerOptions, parts: ServerParts) -> Gate:
    """The application over one dispatch, which need not be open yet: until then every call is answered 503."""
    site = Site(dispatch, options, document())
    paths: dict[str, list[Route]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, []).append(route)
    return gated(site, parts, {path: Resource(site, routes) for path, routes in paths.items()})


def gated(site: Site, parts: ServerParts, resources: Mapping[str, Resource]) -> Gate:
    """The gate before these resources. Starlette's router alone: its application would add layers that hot routes pass for nothing."""
    exact = {path: resource for path, resource in resources.items() if "{" not in path}
    others = [StarletteRoute(path, resource) for path, resource in resources.items() if path not in exact]
    return Gate(site, parts, Router(others, redirect_slashes=False, default=_nowhere), exact)


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """What the router finds for a path that it does not know."""
    raise HTTPException(404)
