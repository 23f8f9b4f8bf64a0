"""`/v1/models`: the names that a call's `model` may have, as the OpenAI API lists them."""

from typing import Final

import msgspec

from inferpool.core.clock import SECOND
from inferpool.core.errors import ModelNotFound
from inferpool.dispatch.catalog import ModelEntry
from inferpool.server.request import Reply, Request
from inferpool.server.site import Site
from inferpool.wire.openai import Model, ModelList

_encode: Final = msgspec.json.Encoder().encode


async def list_all(site: Site, request: Request) -> Reply:
    """Pools by name, then the other llms; inactive ones are left out."""
    return Reply(
        body=_encode(ModelList(data=[_model(entry) for entry in site.dispatch.catalog.models(request.caller.limits)]))
    )


async def read(site: Site, request: Request) -> Reply:
    """One of them; its name may hold slashes."""
    name = request.params["name"]
    entry = next((entry for entry in site.dispatch.catalog.models(request.caller.limits) if entry.name == name), None)
    if entry is None:
        raise ModelNotFound(f"no active llm or pool is called {name[:200]!r}", param="model")
    return Reply(body=_encode(_model(entry)))


def _model(entry: ModelEntry) -> Model:
    return Model(id=entry.name, created=entry.created_at // SECOND)
