"""What schemathesis must be told of this API: names that lead somewhere, things that must stay, the law of error codes.

It loads this module itself (`SCHEMATHESIS_HOOKS`), in a process of its own.
"""

import os
from collections.abc import Mapping, MutableMapping
from typing import Final, Protocol

import msgspec
import schemathesis
from schemathesis import CheckContext, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import RejectedPositiveData

from inferpool.core.errors import Code
from inferpool.server.documented import DOCS
from inferpool.server.inference_tasks import WAIT_MOST_S
from inferpool.wire.problems import STATUSES

KEPT: Final = frozenset(filter(None, os.environ.get("INFERPOOL_TEST_KEPT", "").split(",")))
"""Ids of what nobody may delete: the worker's session, the token that asks."""
POOL: Final = os.environ.get("INFERPOOL_TEST_POOL", "")
"""A name behind which an engine answers; most calls get it, else all of them would be 404."""
LLM: Final = os.environ.get("INFERPOOL_TEST_LLM", "")
"""The llm in that pool."""
SPOKEN_FOR: Final = dict(pair.split("=", 1) for pair in os.environ.get("INFERPOOL_TEST_SESSION", "").split(",") if pair)
"""The id of a session without a worker (`id`), beside the headers with which one speaks for it."""
NOBODY: Final = "00000000-0000-7000-8000-000000000000"
TASKS: Final = "/api/v1/inference-tasks"

INFER: Final = "POST /api/v1/llms/{name}/infer"
SAID: Final = {"messages": [{"role": "user", "content": "say 3 words"}], "prompt": "say 3 words"}
"""What an engine takes, whatever the endpoint."""

LOOSE: Final = frozenset(
    {
        f"POST {TASKS}",  # `request` is as `endpoint` says
        INFER,  # so is the body
        "DELETE /api/v1/sessions/{session_id}",  # a secret comes with an epoch
        "POST /api/v1/sessions",  # names are printable, no llm comes twice, an id comes with a secret
        "POST /api/v1/tokens",  # names are printable, an admin is not limited
    }
)
"""Operations with rules that no schema can tell: what fits their schema may still be refused."""
NO_ROUTE: Final = b"Not Found"
"""What the scripted engine answers where it has no route."""
BROKEN: Final = frozenset({502, 503, 504})
"""The only failures of a server that a caller may see."""
INTEGRAL: Final = b"Expected `int`, got `float`"
"""1.0 is an integer to JSON Schema, not to us."""


class Operation(Protocol):
    """What is asked of, as far as it is read here."""

    @property
    def label(self) -> str: ...


class Asked(Protocol):
    """One request that was sent."""

    @property
    def operation(self) -> Operation: ...


class Case(Asked, Protocol):
    """One request to be."""

    method: str
    path: str
    path_parameters: dict[str, object]
    query: dict[str, object]
    headers: MutableMapping[str, str]
    body: object


class _Detail(msgspec.Struct):
    message: str
    type: str
    code: str
    param: str | None


class _Problem(msgspec.Struct):
    error: _Detail


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: Mapping[str, object]) -> None:
    """Lead the call somewhere, keep it from what must stay."""
    places = dict(case.path_parameters)
    if case.method == "DELETE" and KEPT.intersection(map(str, places.values())):
        case.path_parameters = dict.fromkeys(places, NOBODY)
    elif isinstance(name := places.get("name"), str) and len(name) % 4:
        case.path_parameters = {"name": LLM if "/llms/" in case.path else POOL}
    elif case.path.endswith("/events") and SPOKEN_FOR:
        case.path_parameters = {"session_id": SPOKEN_FOR["id"]}
        case.headers.update({name: value for name, value in SPOKEN_FOR.items() if name in case.headers})
    if isinstance(wait := case.query.get("wait"), float) and 1 < wait <= WAIT_MOST_S:
        case.query["wait"] = 1.0  # nobody has the time
    if isinstance(case.body, dict):
        case.body = _led(case.operation.label, case.body)


def _led(label: str, body: dict[str, object]) -> dict[str, object]:
    """The body with a name that leads somewhere, in most cases; it fits its schema as it did before."""
    model, request = body.get("model"), body.get("request")
    if isinstance(model, str) and len(model) % 4:
        return {**body, "model": POOL}
    if label == f"POST {TASKS}" and isinstance(request, dict) and len(request) < 4:
        return {**body, "request": {**request, **SAID, "model": POOL}}
    if label == INFER and len(body) < 4:
        return {**body, **SAID}
    return body


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Asked, response: Response) -> bool:
    """Whether it counts. What an engine refuses is its own affair."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    return case.operation.label not in LOOSE and INTEGRAL not in response.content and not _by_engine(response.content)


@schemathesis.check
def errors_bear_their_code(ctx: CheckContext, response: Response, case: Asked) -> None:
    """An error is in the one shape, under a code that has this status; no failure of the server but three; else an engine's own."""
    status = response.status_code
    if status < 400:
        return
    code = None if _by_engine(response.content) else _code(response.content)
    if code is None:
        passed_on = DOCS[case.operation.label].engine and status not in BROKEN
        assert passed_on, f"a {status} that is no error of this API"
        return
    assert STATUSES[code] == status, f"{code} came as {status}, not as {STATUSES[code]}"
    assert status < 500 or status in BROKEN, f"{code} came as {status}"


def _by_engine(body: bytes) -> bool:
    """Whether the scripted engine says this."""
    return body == NO_ROUTE or b'"type":"scripted"' in body


def _code(body: bytes) -> Code | None:
    try:
        return Code(msgspec.json.decode(body, type=_Problem).error.code)
    except (msgspec.DecodeError, UnicodeError, ValueError):
        return None


@schemathesis.check
def answers_bear_their_id(ctx: CheckContext, response: Response, case: Asked) -> None:
    """Every answer can be found again."""
    assert response.headers.get("x-request-id"), "there is no x-request-id"
