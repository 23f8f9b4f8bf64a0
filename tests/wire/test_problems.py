"""Claims about how errors become HTTP."""

import msgspec
import pytest

from inferpool.core import errors
from inferpool.core.errors import Code, InferpoolError
from inferpool.core.ids import TaskId
from inferpool.wire.problems import RETRY_HEADER, STATUSES, malformed, problem_of, type_of

TASK = TaskId("0198a0f0-0000-7000-8000-000000000001")


class Inner(msgspec.Struct):
    """A part of a body."""

    count: int


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """A body."""

    name: str
    inner: Inner | None = None
    words: dict[str, str] = {}


def refused(body: bytes) -> errors.InvalidRequest:
    try:
        msgspec.json.decode(body, type=Shape)
    except msgspec.DecodeError as error:
        return malformed(error)
    raise AssertionError("the body was accepted")


def test_every_code_has_a_status() -> None:
    assert set(STATUSES) == set(Code)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (Code.INVALID_REQUEST, 400, "invalid_request_error"),
        (Code.UNAUTHENTICATED, 401, "authentication_error"),
        (Code.FORBIDDEN, 403, "permission_error"),
        (Code.MODEL_NOT_FOUND, 404, "not_found_error"),
        (Code.METHOD_NOT_ALLOWED, 405, "invalid_request_error"),
        (Code.CONFLICT, 409, "conflict_error"),
        (Code.RATE_LIMITED, 429, "rate_limit_error"),
        (Code.CANCELLED, 499, "cancelled_error"),
        (Code.INTERNAL, 500, "server_error"),
        (Code.EXPIRED, 504, "server_error"),
    ],
)
def test_a_code_has_the_status_of_the_spec_with_the_clients_word_for_it(code: Code, status: int, kind: str) -> None:
    assert (STATUSES[code], type_of(code)) == (status, kind)


def test_all_four_keys_are_always_there() -> None:
    problem = problem_of(errors.NotFound("no such thing"))
    assert msgspec.json.decode(problem.body) == {
        "error": {"message": "no such thing", "type": "not_found_error", "param": None, "code": "not_found"}
    }
    assert (problem.status, problem.headers) == (404, [])


def test_the_field_at_fault_is_named() -> None:
    body = msgspec.json.decode(problem_of(errors.InvalidRequest("wrong", "model")).body)
    assert body["error"]["param"] == "model"


def test_a_replaced_session_learns_the_stored_epoch() -> None:
    problem = problem_of(errors.SessionReplaced("newer", 7))
    assert (problem.status, msgspec.json.decode(problem.body)["error"]["epoch"]) == (409, 7)


@pytest.mark.parametrize(("seconds", "told"), [(0.2, "1"), (1.0, "1"), (1.2, "2"), (30.0, "30")])
def test_what_is_not_possible_now_says_after_how_many_whole_seconds(seconds: float, told: str) -> None:
    assert problem_of(errors.QueueFull("full", seconds)).headers == [("Retry-After", told)]


def test_a_wrong_method_is_told_the_right_ones() -> None:
    problem = problem_of(errors.MethodNotAllowed("no", ["GET", "DELETE"]))
    assert (problem.status, problem.headers) == (405, [("Allow", "GET, DELETE")])


@pytest.mark.parametrize(
    "error", [errors.WaitTimeout("later", TASK), errors.TaskFailed(Code.WORKER_LOST, "lost", TASK)]
)
def test_with_a_task_behind_it_a_client_does_not_ask_again(error: InferpoolError) -> None:
    assert problem_of(error).headers == [(RETRY_HEADER, "false")]


def test_any_error_after_the_task_was_made_says_that_asking_again_would_make_another() -> None:
    problem = problem_of(errors.ShuttingDown("bye"), TASK)
    assert problem.headers == [("Retry-After", "1"), (RETRY_HEADER, "false")]


def test_a_conflict_is_not_retried_but_a_name_in_use_may_be() -> None:
    assert problem_of(errors.Conflict("another body")).headers == [(RETRY_HEADER, "false")]
    assert problem_of(errors.NameInUse("taken")).headers == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"name": 1}', "name"),
        (b'{"name": "a", "inner": {"count": "x"}}', "inner.count"),
        (b'{"name": "a", "inner": {}}', "inner.count"),
        (b'{"name": "a", "words": {"k": 1}}', "words[...]"),
        (b"{}", "name"),
        (b'{"name": "a", "more": 1}', "more"),
        (b"[]", None),
    ],
)
def test_a_body_that_does_not_fit_names_its_field(body: bytes, param: str | None) -> None:
    error = refused(body)
    assert error.param == param
    assert error.message.startswith("the body does not fit: ")


def test_what_is_not_json_names_the_place() -> None:
    assert refused(b'{"name": }').message == "the body is not valid JSON: JSON is malformed: invalid character (byte 9)"


def test_a_body_nested_too_deeply_is_the_callers_fault() -> None:
    assert malformed(RecursionError()).message == "the body is nested too deeply"
