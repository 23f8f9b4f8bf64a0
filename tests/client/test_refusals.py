"""Errors of a server, read back into what they were."""

import pytest

from inferpool.client.refusals import refusal
from inferpool.core.errors import (
    Conflict,
    Forbidden,
    InferpoolError,
    InvalidRequest,
    NameInUse,
    NotFound,
    ProtocolBroken,
    ProtocolUnsupported,
    QueueFull,
    SessionInactive,
    SessionReplaced,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from inferpool.wire.problems import STATUSES, problem_of


@pytest.mark.parametrize(
    "error",
    [
        Conflict("c"),
        Forbidden("f"),
        InvalidRequest("i", param="model"),
        NameInUse("n"),
        NotFound("x"),
        ProtocolUnsupported("p"),
        SessionInactive("s"),
        TooLarge("t"),
        Unauthenticated("u"),
    ],
)
def test_what_a_server_says_is_what_the_client_raises(error: InferpoolError) -> None:
    problem = problem_of(error)
    read = refusal(problem.status, problem.body)
    assert (type(read), read.message, read.param) == (type(error), error.message, error.param)


def test_the_stored_epoch_comes_with_a_replaced_session() -> None:
    problem = problem_of(SessionReplaced("newer", epoch=12))
    read = refusal(problem.status, problem.body)
    assert isinstance(read, SessionReplaced)
    assert read.epoch == 12


def test_a_full_queue_is_a_matter_of_time() -> None:
    assert isinstance(refusal(503, problem_of(QueueFull("full")).body), Unavailable)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (404, NotFound),
        (409, Conflict),
        (413, TooLarge),
        (502, Unavailable),
        (302, ProtocolBroken),
    ],
)
def test_an_answer_of_a_proxy_is_judged_by_its_status(status: int, kind: type[InferpoolError]) -> None:
    assert type(refusal(status, b"<html>")) is kind


def test_every_code_is_read_as_an_error_of_its_status() -> None:
    for code, status in STATUSES.items():
        body = b'{"error":{"message":"m","type":"t","param":null,"code":"%s"}}' % code.value.encode()
        assert isinstance(refusal(status, body), InferpoolError)
