"""What an engine's answer means for its task, how long a retry waits."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferpool.core.clock import SECOND
from inferpool.core.retry import Judgement, backoff_us, judge_status, parse_retry_after, retry_delay_us

ALMOST_ONE = math.nextafter(1.0, 0.0)
NOON_US = 1_767_614_400 * SECOND  # Mon, 05 Jan 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([200, 201, 202, 204, 299], Judgement.COMPLETE),
        ([300, 301, 302, 304, 307, 308, 399], Judgement.FAIL_REDIRECT),
        ([400, 402, 404, 405, 409, 413, 415, 418, 422, 499], Judgement.FAIL),
        ([401, 403, 407], Judgement.FAIL_AUTH),
        ([408, 500, 501, 502, 503, 504, 529, 599], Judgement.RETRY),
        ([429], Judgement.RETRY_FREE),
        ([-1, 0, 100, 101, 199, 600, 999], Judgement.RETRY),
    ],
)
def test_every_status_has_its_judgement(statuses: list[int], expected: Judgement) -> None:
    assert [judge_status(status) for status in statuses] == [expected] * len(statuses)


@pytest.mark.parametrize(("attempt", "limit_s"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (1_000_000, 60)])
def test_the_back_off_doubles_with_each_attempt_to_a_minute(attempt: int, limit_s: int) -> None:
    assert limit_s * SECOND - 1 <= backoff_us(attempt, ALMOST_ONE) <= limit_s * SECOND
    assert backoff_us(attempt, 0.5) == limit_s * SECOND // 2
    assert backoff_us(attempt, 0.0) == 0


def test_an_attempt_before_the_first_backs_off_like_the_first() -> None:
    assert backoff_us(0, 0.5) == backoff_us(1, 0.5)


def test_what_the_engine_asks_for_wins_over_the_back_off() -> None:
    assert retry_delay_us(7, 0.9, 2.5) == 2_500_000
    assert retry_delay_us(1, 0.9, 0.0) == 0
    assert retry_delay_us(1, 0.5, None) == 500_000


@pytest.mark.parametrize(
    ("asked_s", "delay_s"), [(600.0, 600), (601.0, 600), (86_400.0, 600), (math.inf, 600), (math.nan, 600), (-5.0, 0)]
)
def test_what_the_engine_asks_for_is_cut(asked_s: float, delay_s: int) -> None:
    assert retry_delay_us(1, 0.9, asked_s) == delay_s * SECOND


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("601", 600),
        ("9" * 400, 600),
        ("Mon, 05 Jan 2026 12:00:30 GMT", 30),
        ("Monday, 05-Jan-26 12:00:30 GMT", 30),
        ("Mon Jan  5 12:00:30 2026", 30),
        ("Mon, 05 Jan 2026 11:59:00 GMT", 0),
        ("Tue, 06 Jan 2026 12:00:00 GMT", 600),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(header: str, seconds: float) -> None:
    assert parse_retry_after(header, NOON_US) == seconds


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "-1",
        "soon",
        "1e3",
        "1,5",
        "٣",
        "nan",
        "Mon, 05 Foo 2026 12:00:30 GMT",
        f"Mon, 05 Jan {'9' * 30} 12:00:30 GMT",
        "Mon, 05 Jan 2026",
    ],
)
def test_a_retry_after_that_cannot_be_read_is_none(header: str | None) -> None:
    assert parse_retry_after(header, NOON_US) is None


@given(st.text(max_size=60) | st.text("0123456789 :+-,JanMonGT", max_size=60))
def test_no_header_breaks_the_parser(header: str) -> None:
    seconds = parse_retry_after(header, NOON_US)
    assert seconds is None or 0 <= seconds <= 600
