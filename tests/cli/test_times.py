"""Claims about times: short ones for columns, whole ones for a single thing."""

import time

import pytest

from inferpool.cli.times import age, seconds_of, short, spelled, until
from inferpool.wire.tasks import to_rfc3339


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (310, "5m10s"), (3600, "1h"), (7384, "2h3m"), (200_000, "2d7h"), (-5, "0s")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert short(seconds) == text


def test_a_time_to_come_is_told_by_how_long_it_is_off() -> None:
    now = time.time_ns() // 1000
    assert until(to_rfc3339(now + 7_200_500_000)) == "2h"
    assert (until(None), until(to_rfc3339(now - 1_000_000))) == ("-", "-")


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("1.5m", 90), (" 45s ", 45)])
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "30x", "-1d", "1d2h", "1e3s"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="30d, 12h"):
        seconds_of(text)


def test_a_time_is_told_by_its_distance_from_now() -> None:
    now = time.time_ns() // 1000
    assert age(to_rfc3339(now - 7_200_500_000)) == "2h"
    assert spelled(to_rfc3339(now - 7_200_500_000)).endswith(" (2h ago)")
    assert "(in 59m" in spelled(to_rfc3339(now + 3_599_000_000))
    assert (age(None), spelled(None)) == ("-", "-")
