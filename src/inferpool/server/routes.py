"""The one table of routes: path, method, handler, who may call it; the hot ones stand first."""

from typing import Final

import msgspec

from inferpool.core.access import MUTATIONS, Action, Resource, Right
from inferpool.server import (
    audit,
    calls,
    health,
    inference_tasks,
    llms,
    metrics,
    models,
    openapi,
    pools,
    sessions,
    task_stream,
    tokens,
)
from inferpool.server.site import Handler
from inferpool.wire.openai import ENDPOINTS, FORM_ENDPOINTS


class Route(msgspec.Struct, frozen=True):
    """One line of the table. `{name:path}` takes slashes, so that every name works percent-encoded."""

    method: str
    path: str
    handler: Handler
    right: Right | None
    """What its caller must be granted (core/access.py says who is); None: nothing, anyone may call it."""

    @property
    def methods(self) -> frozenset[str]:
        """The method, in the plural that routers speak."""
        return frozenset({self.method})

    @property
    def title(self) -> str:
        """As the audit names it."""
        return f"{self.method} {self.path.replace(':path', '')}"

    @property
    def about_one(self) -> bool:
        """Whether it is about a single thing that is there already, which its caller may be unable to see."""
        return "{" in self.path and self.right is not None and self.right.action is not Action.CREATE

    @property
    def audited(self) -> bool:
        """Whether it changes something, so that the audit tells of it."""
        return self.right is not None and self.right.action in MUTATIONS

    @property
    def frequent(self) -> bool:
        """Whether its line of the audit may wait for the next second: a task of its own tells of it, or a session."""
        return self.right is _CALL or self.right is _PUBLISH


_CALL: Final = Right(Resource.TASKS, Action.CREATE)
_READ_TASKS: Final = Right(Resource.TASKS, Action.READ)
_READ_LLMS: Final = Right(Resource.LLMS, Action.READ)
_PUBLISH: Final = Right(Resource.SESSIONS, Action.PUBLISH)
_SPEAK: Final = Right(Resource.SESSIONS, Action.SPEAK)
_READ_SESSIONS: Final = Right(Resource.SESSIONS, Action.READ)
_READ_TOKENS: Final = Right(Resource.TOKENS, Action.READ)

_TASKS: Final = inference_tasks.PATH
_TOKENS: Final = tokens.PATH
_SESSIONS: Final = "/api/v1/sessions"
_ONE_SESSION: Final = _SESSIONS + "/{session_id}"

ROUTES: Final[tuple[Route, ...]] = (
    *(Route("POST", f"/v1/{endpoint}", calls.call, _CALL) for endpoint in (*ENDPOINTS, *FORM_ENDPOINTS)),
    Route("POST", _ONE_SESSION + "/events", sessions.events, _SPEAK),
    Route("GET", _ONE_SESSION + "/requests/{task_id}/{attempt}", sessions.request_body, _SPEAK),
    Route("GET", _ONE_SESSION + "/channel", sessions.channel, _SPEAK),
    Route("POST", _SESSIONS, sessions.register, _PUBLISH),
    Route("GET", _SESSIONS, sessions.list_all, _READ_SESSIONS),
    Route("GET", _ONE_SESSION, sessions.read, _READ_SESSIONS),
    Route("DELETE", _ONE_SESSION, sessions.leave, Right(Resource.SESSIONS, Action.DELETE)),
    Route("POST", _TASKS, inference_tasks.create, _CALL),
    Route("GET", _TASKS, inference_tasks.list_all, _READ_TASKS),
    Route("GET", _TASKS + "/{task_id}", inference_tasks.read, _READ_TASKS),
    Route("DELETE", _TASKS + "/{task_id}", inference_tasks.remove, Right(Resource.TASKS, Action.CANCEL)),
    Route("GET", _TASKS + "/{task_id}/stream", task_stream.stream, _READ_TASKS),
    Route("POST", _TASKS + "/{task_id}/replay", inference_tasks.replay, Right(Resource.TASKS, Action.REPLAY)),
    Route("GET", _TASKS + "/{task_id}/attempts", inference_tasks.attempts, _READ_TASKS),
    Route("GET", "/v1/models", models.list_all, _READ_LLMS),
    Route("GET", "/v1/models/{name:path}", models.read, _READ_LLMS),
    Route("GET", "/api/v1/llms", llms.list_all, _READ_LLMS),
    Route("POST", "/api/v1/llms/{name:path}/infer", calls.call_llm, _CALL),
    Route("GET", "/api/v1/llms/{name:path}", llms.read, _READ_LLMS),
    Route("GET", "/api/v1/pools", pools.list_all, _READ_LLMS),
    Route("GET", "/api/v1/pools/{name:path}", pools.read, _READ_LLMS),
    Route("POST", _TOKENS, tokens.create, Right(Resource.TOKENS, Action.CREATE)),
    Route("GET", _TOKENS, tokens.list_all, _READ_TOKENS),
    Route("GET", _TOKENS + "/{token_id}", tokens.read, _READ_TOKENS),
    Route("DELETE", _TOKENS + "/{token_id}", tokens.revoke, Right(Resource.TOKENS, Action.DELETE)),
    Route("GET", "/api/v1/audit", audit.list_all, Right(Resource.AUDIT, Action.READ)),
    Route("GET", "/openapi.json", openapi.read, _READ_LLMS),
    Route("GET", "/metrics", metrics.read, Right(Resource.METRICS, Action.READ)),
    Route("GET", "/healthz", health.alive, None),
    Route("GET", "/readyz", health.ready, None),
)
