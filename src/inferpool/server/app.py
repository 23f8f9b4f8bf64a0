"""The ASGI application: every route of the table behind one gate."""

from starlette.applications import Starlette
from starlette.routing import Route as StarletteRoute

from inferpool.dispatch.service import Dispatch
from inferpool.server.asgi import Asgi
from inferpool.server.document import document
from inferpool.server.gate import Gate, ServerParts
from inferpool.server.options import ServerOptions
from inferpool.server.resource import Resource
from inferpool.server.routes import ROUTES, Route
from inferpool.server.site import Site


def build_app(dispatch: Dispatch, options: ServerOptions, parts: ServerParts) -> Starlette:
    """The application over one dispatch, which need not be open yet: until then every call is answered 503."""
    site = Site(dispatch, options, document())
    paths: dict[str, list[Route]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, []).append(route)
    return Application(site, parts, {path: Resource(site, routes) for path, routes in paths.items()})


class Application(Starlette):
    """Starlette with the gate in the place of its own middleware, which a hot route would pass for nothing."""

    def __init__(self, site: Site, parts: ServerParts, resources: dict[str, Resource]) -> None:
        super().__init__(routes=[StarletteRoute(path, resource) for path, resource in resources.items()])
        self.router.redirect_slashes = False
        exact = {path: resource for path, resource in resources.items() if "{" not in path}
        self._gate = Gate(site, parts, self.router, exact)

    def build_middleware_stack(self) -> Asgi:
        """The gate alone."""
        return self._gate
