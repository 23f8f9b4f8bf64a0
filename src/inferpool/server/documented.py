"""What each route takes, what it answers: the facts of the OpenAPI document that the route table does not hold."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from inferpool.core.lifecycle import Status
from inferpool.core.stream import EVENT_ID
from inferpool.core.task import QueueMode
from inferpool.dispatch.admission import SECRET_MIN
from inferpool.server.inference_tasks import WAIT_MOST_S
from inferpool.server.media import JSON
from inferpool.server.query import LIMIT_MOST
from inferpool.server.refined import UUID
from inferpool.wire.openai import ENDPOINTS, FORM_ENDPOINTS, KEY_LIMIT, CallBody, FormBody, Model, ModelList
from inferpool.wire.registry import LlmJson, LlmList, PoolJson, PoolList, SessionJson, SessionList
from inferpool.wire.sessions import (
    EPOCH_HEADER,
    SECRET_HEADER,
    EventsReply,
    EventsRequest,
    RegisterReply,
    RegisterRequest,
)
from inferpool.wire.tasks import AttemptList, InferenceTask, NewTaskRequest, TaskList
from inferpool.wire.tokens import AuditList, MadeTokenJson, NewTokenRequest, TokenJson, TokenList

Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Flag: TypeAlias = Literal["true", "false", "1", "0"]
Time: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Body: TypeAlias = type[msgspec.Struct]
Kind: TypeAlias = object
"""A type as msgspec describes it: a class, or an annotated one."""


class HealthJson(msgspec.Struct, frozen=True):
    """`GET /healthz`, `GET /readyz`."""

    status: Literal["ok", "ready"]


class Doc(msgspec.Struct, frozen=True, kw_only=True):
    """One route. `replies` has the body of each success; None: none that JSON could tell."""

    body: Body | None = None
    form: bool = False
    bodiless: bool = False
    """It may come without its body."""
    replies: Mapping[int, Body | None]
    media: tuple[str, ...] = (JSON.decode(),)
    """The forms in which a success without such a body comes."""
    stream: bool = False
    """Its success may be an event stream."""
    engine: bool = False
    """Any status of an engine passes through."""
    errors: frozenset[int] = frozenset()
    """Beyond those that every route has."""
    query: Mapping[str, Kind] = {}
    headers: Mapping[str, Kind] = {}
    required: frozenset[str] = frozenset()
    """Headers without which it does nothing."""
    links: Mapping[str, tuple[str, str]] = {}
    """Routes that what was answered leads to, each with the parameter that it gives, with its place in the answer."""


_PAGE: Final[Mapping[str, Kind]] = {
    "limit": Annotated[int, Meta(ge=1, le=LIMIT_MOST)],
    "cursor": Text,
}
_IDS: Final[Mapping[str, Kind]] = {**_PAGE, "cursor": Annotated[str, Meta(pattern=UUID)]}
"""A page of what has ids."""
_CALL_HEADERS: Final[Mapping[str, Kind]] = {
    "Inferpool-Queue": QueueMode,
    "Inferpool-Pin": Literal["true", "false"],
    "Inferpool-On-Disconnect": Literal["cancel", "continue"],
    "Idempotency-Key": Annotated[str, Meta(pattern="^[!-~]([ -~]*[!-~])?$", max_length=KEY_LIMIT)],
    "x-stainless-read-timeout": Annotated[float, Meta(gt=0)],
}
_SECRET: Final = Annotated[str, Meta(min_length=SECRET_MIN)]
_SPOKEN: Final[Mapping[str, Kind]] = {SECRET_HEADER: _SECRET, EPOCH_HEADER: Annotated[int, Meta(ge=1, lt=10**18)]}
_CALL_ERRORS: Final = frozenset({404, 409, 413, 415, 429, 499, 502, 503, 504})
_TASKS: Final = "/api/v1/inference-tasks"
_ONE_TASK: Final = _TASKS + "/{task_id}"
_SESSIONS: Final = "/api/v1/sessions"
_ONE_SESSION: Final = _SESSIONS + "/{session_id}"
_TOKENS: Final = "/api/v1/tokens"
_ONE_TOKEN: Final = _TOKENS + "/{token_id}"


def _led(titles: tuple[str, ...], parameter: str, place: str) -> Mapping[str, tuple[str, str]]:
    return dict.fromkeys(titles, (parameter, place))


_OF_TASK: Final = (
    f"GET {_ONE_TASK}",
    f"DELETE {_ONE_TASK}",
    *(f"{word} {_ONE_TASK}/{what}" for word, what in (("GET", "stream"), ("POST", "replay"), ("GET", "attempts"))),
)
_OF_TOKEN: Final = (f"GET {_ONE_TOKEN}", f"DELETE {_ONE_TOKEN}")
_OF_LLM: Final = ("GET /api/v1/llms/{name}", "POST /api/v1/llms/{name}/infer")


def _call(body: Body, *, form: bool = False, query: Mapping[str, Kind] | None = None) -> Doc:
    return Doc(
        body=body,
        form=form,
        replies={200: None},
        stream=True,
        engine=True,
        errors=_CALL_ERRORS,
        query=query or {},
        headers=_CALL_HEADERS,
    )


DOCS: Final[Mapping[str, Doc]] = {
    **{f"POST /v1/{endpoint}": _call(body) for endpoint, body in ENDPOINTS.items()},
    **{f"POST /v1/{endpoint}": _call(FormBody, form=True) for endpoint in FORM_ENDPOINTS},
    "GET /v1/models": Doc(
        replies={200: ModelList},
        links=_led(("GET /v1/models/{name}", "GET /api/v1/pools/{name}"), "name", "/data/0/id"),
    ),
    "GET /v1/models/{name}": Doc(replies={200: Model}),
    f"POST {_TASKS}": Doc(
        body=NewTaskRequest,
        replies={202: InferenceTask, 200: InferenceTask},
        errors=frozenset({404, 409, 413, 415, 429}),
        headers={name: kind for name, kind in _CALL_HEADERS.items() if name.startswith("I")},
        links=_led(_OF_TASK, "task_id", "/id"),
    ),
    f"GET {_TASKS}": Doc(
        replies={200: TaskList},
        query={
            "status": list[Status],
            **dict.fromkeys(("pool", "llm", "agent", "owner"), Text),
            "from": Time,
            "to": Time,
            **_IDS,
        },
        links=_led(_OF_TASK, "task_id", "/data/0/id"),
    ),
    f"GET {_ONE_TASK}": Doc(replies={200: InferenceTask}, query={"wait": Annotated[float, Meta(ge=0, le=WAIT_MOST_S)]}),
    f"DELETE {_ONE_TASK}": Doc(replies={200: InferenceTask, 204: None}, query={"purge": Flag}, errors=frozenset({409})),
    f"GET {_ONE_TASK}/stream": Doc(
        replies={200: None, 204: None},
        stream=True,
        headers={"Last-Event-ID": Annotated[str, Meta(pattern=f"^({EVENT_ID})?$")]},
    ),
    f"POST {_ONE_TASK}/replay": Doc(replies={200: InferenceTask}, errors=frozenset({409, 415})),
    f"GET {_ONE_TASK}/attempts": Doc(replies={200: AttemptList}),
    "GET /api/v1/llms": Doc(replies={200: LlmList}, query=_PAGE, links=_led(_OF_LLM, "name", "/data/0/name")),
    "GET /api/v1/llms/{name}": Doc(replies={200: LlmJson}),
    "POST /api/v1/llms/{name}/infer": _call(CallBody, query={"endpoint": Text}),
    "GET /api/v1/pools": Doc(
        replies={200: PoolList}, query=_PAGE, links=_led(("GET /api/v1/pools/{name}",), "name", "/data/0/name")
    ),
    "GET /api/v1/pools/{name}": Doc(replies={200: PoolJson}),
    f"POST {_SESSIONS}": Doc(
        body=RegisterRequest,
        replies={200: RegisterReply},
        errors=frozenset({409, 413, 415}),
        headers={SECRET_HEADER: str},
        links=_led((f"GET {_ONE_SESSION}", f"DELETE {_ONE_SESSION}"), "session_id", "/session_id"),
    ),
    f"GET {_SESSIONS}": Doc(
        replies={200: SessionList}, query=_IDS, links=_led((f"GET {_ONE_SESSION}",), "session_id", "/data/0/id")
    ),
    f"GET {_ONE_SESSION}": Doc(replies={200: SessionJson}),
    f"DELETE {_ONE_SESSION}": Doc(replies={204: None}, errors=frozenset({409}), headers=_SPOKEN),
    f"GET {_ONE_SESSION}/channel": Doc(
        replies={200: None}, stream=True, errors=frozenset({409}), headers=_SPOKEN, required=frozenset(_SPOKEN)
    ),
    f"POST {_ONE_SESSION}/events": Doc(
        body=EventsRequest,
        bodiless=True,
        replies={200: EventsReply},
        errors=frozenset({409, 413, 415}),
        headers=_SPOKEN,
        required=frozenset(_SPOKEN),
    ),
    f"GET {_ONE_SESSION}/requests/{{task_id}}/{{attempt}}": Doc(
        replies={200: None}, media=("*/*",), errors=frozenset({409}), headers=_SPOKEN, required=frozenset(_SPOKEN)
    ),
    f"POST {_TOKENS}": Doc(
        body=NewTokenRequest,
        replies={201: MadeTokenJson},
        errors=frozenset({409, 413, 415}),
        links=_led(_OF_TOKEN, "token_id", "/id"),
    ),
    f"GET {_TOKENS}": Doc(
        replies={200: TokenList}, query=_IDS, links=_led((f"GET {_ONE_TOKEN}",), "token_id", "/data/0/id")
    ),
    f"GET {_ONE_TOKEN}": Doc(replies={200: TokenJson}),
    f"DELETE {_ONE_TOKEN}": Doc(replies={200: TokenJson}),
    "GET /api/v1/audit": Doc(
        replies={200: AuditList},
        query={**dict.fromkeys(("subject", "outcome"), Text), "from": Time, "to": Time, **_IDS},
    ),
    "GET /openapi.json": Doc(replies={200: None}),
    "GET /metrics": Doc(replies={200: None}, media=("text/plain", "application/openmetrics-text")),
    "GET /healthz": Doc(replies={200: HealthJson}),
    "GET /readyz": Doc(replies={200: HealthJson}),
}
"""Every route by its method with its path."""
