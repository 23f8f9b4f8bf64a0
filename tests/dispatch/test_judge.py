"""Every answer of an engine leads to one verb of the law."""

import base64

import pytest

from inferpool.core.errors import Code, InvalidRequest
from inferpool.core.ids import SessionId, TaskId
from inferpool.core.task import Answer, Usage
from inferpool.dispatch.judge import body_of, end_of_failure, end_of_result, end_of_stop
from inferpool.store.protocol import Completion, Failure, Retry, Spoken
from inferpool.wire.sessions import Failed, Result, Stopped

SPOKEN = Spoken(TaskId("t"), 2, SessionId("s"))


def answered(status: int, *, retry_after_s: float | None = None) -> Result:
    """An engine's answer with this status."""
    return Result(
        task_id="t",
        attempt=2,
        status=status,
        content_type="text/plain",
        retry_after_s=retry_after_s,
        body="said",
        usage=Usage(1, 2),
    )


@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_2xx_completes(status: int) -> None:
    end = end_of_result(SPOKEN, answered(status), 0.5, b"chunks")
    assert end == Completion(
        spoken=SPOKEN, answer=Answer(status, "text/plain", b"said"), usage=Usage(1, 2), chunks=b"chunks"
    )


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_4xx_is_final_and_keeps_its_body(status: int) -> None:
    end = end_of_result(SPOKEN, answered(status), 0.5, None)
    assert isinstance(end, Failure)
    assert end.answer == Answer(status, "text/plain", b"said")
    assert end.fault.code is Code.ENGINE_ERROR


@pytest.mark.parametrize(
    ("status", "code"), [(401, Code.ENGINE_AUTH), (403, Code.ENGINE_AUTH), (302, "engine_redirect")]
)
def test_what_is_about_our_key_keeps_no_body_but_a_detail(status: int, code: str) -> None:
    end = end_of_result(SPOKEN, answered(status), 0.5, None)
    assert isinstance(end, Failure)
    assert (end.answer, end.fault.code, end.detail) == (None, code, "said")


@pytest.mark.parametrize(("status", "counts"), [(408, True), (429, False), (500, True), (503, True)])
def test_a_busy_or_broken_engine_is_tried_again(status: int, counts: bool) -> None:
    end = end_of_result(SPOKEN, answered(status), 0.5, None)
    assert isinstance(end, Retry)
    assert (end.counts, end.delay) == (counts, 1_000_000)
    assert end.answer is not None


def test_retry_after_wins_over_the_back_off() -> None:
    end = end_of_result(SPOKEN, answered(429, retry_after_s=7), 0.5, None)
    assert isinstance(end, Retry)
    assert end.delay == 7_000_000


def test_the_run_limit_is_final_and_any_other_failure_is_tried_again() -> None:
    limit = end_of_failure(SPOKEN, Failed(task_id="t", attempt=2, code="engine_timeout", message="too long"), 0.5)
    assert isinstance(limit, Failure)
    other = end_of_failure(SPOKEN, Failed(task_id="t", attempt=2, code="engine_error", message="reset"), 0.5)
    assert isinstance(other, Retry)
    assert other.counts
    stopped = end_of_stop(SPOKEN, Stopped(task_id="t", attempt=2), 0.5)
    assert isinstance(stopped, Retry)


def test_a_binary_body_travels_as_base64() -> None:
    binary = Result(
        task_id="t", attempt=1, status=200, content_type="audio/wav", body_base64=base64.b64encode(b"\xff\0").decode()
    )
    assert body_of(binary) == b"\xff\0"
    with pytest.raises(InvalidRequest):
        body_of(Result(task_id="t", attempt=1, status=200, content_type="audio/wav", body_base64="no base64!"))
