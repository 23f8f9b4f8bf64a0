"""Builds the OpenAPI document of the routes: paths from the table, schemas from the structs that cross HTTP."""

import functools
import inspect
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Final

import msgspec

from inferpool.server.documented import DOCS, Doc, Kind
from inferpool.server.refined import EVENT, Schema, refine
from inferpool.server.routes import ROUTES, Route
from inferpool.wire.problems import ErrorBody

_REFERENCE: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"{(\w+)}")
_PATH_KINDS: Final[Mapping[str, Schema]] = {"attempt": {"type": "integer", "minimum": 1}}
_EVENTS: Final[Schema] = {"text/event-stream": {"schema": EVENT}}
_WHATEVER: Final[Schema] = {"*/*": {"schema": {}}}
_ANYTHING: Final[Schema] = {"application/json": {"schema": {}}}
_EVERYWHERE: Final = frozenset({400, 401, 403, 500, 503})
_OURS_ALONE: Final = frozenset({401, 403})
"""Statuses of an engine that never reach a caller; any other may come with the engine's own body."""
_PHRASES: Final[Mapping[int, str]] = {
    400: "a field, parameter or header is missing or wrong",
    401: "no valid token came along",
    403: "not allowed",
    404: "there is no such thing, or it is not the caller's to see",
    408: "the body did not come in time",
    409: "the state of the thing forbids it",
    413: "the body is over the limit",
    415: "the body comes in a form that is not taken",
    429: "the owner is over a limit",
    499: "the task was cancelled",
    500: "a fault of the server",
    502: "the engine, or its worker, gave no answer",
    503: "not now; Retry-After tells when",
    504: "the time is over; the task's id is in Inferpool-Task-Id",
}


@functools.cache
def document() -> bytes:
    """The document as JSON."""
    types = list(_types())
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    refine(components)
    known = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        path = route.path.replace(":path", "")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, DOCS[route.title], known)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "inferpool",
                "version": version("inferpool"),
                "description": "A durable queue between LLM callers and the machines that run the models.",
            },
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _types() -> Iterator[Kind]:
    """Every type that the document names, once."""
    seen = {repr(ErrorBody): ErrorBody}
    yield ErrorBody
    for doc in DOCS.values():
        for kind in (doc.body, *doc.replies.values(), *doc.query.values(), *doc.headers.values()):
            if kind is not None and repr(kind) not in seen:
                seen[repr(kind)] = ErrorBody
                yield kind


def _operation(route: Route, doc: Doc, known: Mapping[str, Schema]) -> Schema:
    about = inspect.getdoc(route.handler) or ""
    operation: Schema = {
        "operationId": _id(route.title),
        "summary": about.split("\n\n")[0].replace("\n", " "),
        "parameters": list(_parameters(route, doc, known)),
        "responses": _responses(route, doc, known),
        "security": [] if route.right is None else [{}, {"token": []}],
    }
    if doc.body is not None:
        media = "multipart/form-data" if doc.form else "application/json"
        schema = known[repr(doc.body)]
        if doc.engine and "{" not in route.path:
            schema = {"allOf": [schema, {"required": ["model"], "properties": {"model": {"minLength": 1}}}]}
        operation["requestBody"] = {"required": not doc.bodiless, "content": {media: {"schema": schema}}}
    return operation


def _id(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).rstrip("_")


def _parameters(route: Route, doc: Doc, known: Mapping[str, Schema]) -> Iterator[Schema]:
    for name in _PARAMETER.findall(route.path.replace(":path", "")):
        schema = _PATH_KINDS.get(name, {"type": "string", "minLength": 1})
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for where, kinds in (("query", doc.query), ("header", doc.headers)):
        for name, kind in kinds.items():
            yield {"name": name, "in": where, "required": name in doc.required, "schema": known[repr(kind)]}


def _responses(route: Route, doc: Doc, known: Mapping[str, Schema]) -> dict[str, Schema]:
    told: dict[str, Schema] = {}
    for status, body in doc.replies.items():
        plain: Schema = {media: {"schema": {}} for media in doc.media}
        content = {} if status == 204 else plain if body is None else _json(known[repr(body)])
        if doc.stream and status == 200:
            content = content | _EVENTS | _WHATEVER if doc.engine else _EVENTS
        told[str(status)] = {"description": "as asked", "content": content, "links": _links(doc)}
    errors = _EVERYWHERE | doc.errors | ({404} if "{" in route.path else set()) | ({408} if doc.body else set())
    for status in sorted(errors):
        ours = _json(known[repr(ErrorBody)])
        if doc.engine and status not in _OURS_ALONE:
            ours = _ANYTHING | _WHATEVER
        told[str(status)] = {"description": _PHRASES[status], "content": ours}
    if doc.engine:
        told["default"] = {"description": "the engine's own answer, whatever it is", "content": _WHATEVER}
    return told


def _links(doc: Doc) -> Schema:
    """Where what an answer names can be asked for."""
    return {
        _id(title): {"operationId": _id(title), "parameters": {parameter: f"$response.body#{place}"}}
        for title, (parameter, place) in doc.links.items()
    }


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
