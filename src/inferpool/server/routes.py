"""The one table of routes: path, method, handler, who may call it; the hot ones stand first."""

from enum import StrEnum
from typing import Final

import msgspec

from inferpool.server import calls, health, inference_tasks, llms, models, sessions, task_stream
from inferpool.server.site import Handler
from inferpool.wire.openai import ENDPOINTS, FORM_ENDPOINTS


class Audience(StrEnum):
    """Who may call a route. While the server is open, its one local user is all of them."""

    CALLER = "caller"
    """Whoever has tasks: sees their own only."""
    SESSION = "session"
    """A worker, with its session's secret."""
    OPERATOR = "operator"
    ANYONE = "anyone"


class Route(msgspec.Struct, frozen=True):
    """One line of the table. `{name:path}` takes slashes, so that every name works percent-encoded."""

    method: str
    path: str
    handler: Handler
    audience: Audience

    @property
    def methods(self) -> frozenset[str]:
        """The method, in the plural that routers speak."""
        return frozenset({self.method})


_TASKS: Final = inference_tasks.PATH
_SESSIONS: Final = "/api/v1/sessions"
_ONE_SESSION: Final = _SESSIONS + "/{session_id}"

ROUTES: Final[tuple[Route, ...]] = (
    *(Route("POST", f"/v1/{endpoint}", calls.call, Audience.CALLER) for endpoint in (*ENDPOINTS, *FORM_ENDPOINTS)),
    Route("POST", _ONE_SESSION + "/events", sessions.events, Audience.SESSION),
    Route("GET", _ONE_SESSION + "/requests/{task_id}/{attempt}", sessions.request_body, Audience.SESSION),
    Route("GET", _ONE_SESSION + "/channel", sessions.channel, Audience.SESSION),
    Route("POST", _SESSIONS, sessions.register, Audience.SESSION),
    Route("GET", _SESSIONS, sessions.list_all, Audience.OPERATOR),
    Route("GET", _ONE_SESSION, sessions.read, Audience.OPERATOR),
    Route("DELETE", _ONE_SESSION, sessions.leave, Audience.SESSION),
    Route("POST", _TASKS, inference_tasks.create, Audience.CALLER),
    Route("GET", _TASKS, inference_tasks.list_all, Audience.CALLER),
    Route("GET", _TASKS + "/{task_id}", inference_tasks.read, Audience.CALLER),
    Route("DELETE", _TASKS + "/{task_id}", inference_tasks.remove, Audience.CALLER),
    Route("GET", _TASKS + "/{task_id}/stream", task_stream.stream, Audience.CALLER),
    Route("POST", _TASKS + "/{task_id}/replay", inference_tasks.replay, Audience.CALLER),
    Route("GET", _TASKS + "/{task_id}/attempts", inference_tasks.attempts, Audience.CALLER),
    Route("GET", "/v1/models", models.list_all, Audience.CALLER),
    Route("GET", "/v1/models/{name:path}", models.read, Audience.CALLER),
    Route("GET", "/api/v1/llms", llms.list_all, Audience.CALLER),
    Route("POST", "/api/v1/llms/{name:path}/infer", calls.call_llm, Audience.CALLER),
    Route("GET", "/api/v1/llms/{name:path}", llms.read, Audience.CALLER),
    Route("GET", "/healthz", health.alive, Audience.ANYONE),
    Route("GET", "/readyz", health.ready, Audience.ANYONE),
)
