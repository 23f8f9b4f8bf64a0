"""Claims about times: short ones for columns, whole ones for a single thing."""

import time

import pytest

from inferpool.cli.times import age, short, spelled
from inferpool.wire.tasks import to_rfc3339


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (310, "5m10s"), (3600, "1h"), (7384, "2h3m"), (200_000, "2d7h"), (-5, "0s")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert short(seconds) == text


def test_a_time_is_told_by_its_distance_from_now() -> None:
    now = time.time_ns() // 1000
    assert age(to_rfc3339(now - 7_200_500_000)) == "2h"
    assert spelled(to_rfc3339(now - 7_200_500_000)).endswith(" (2h ago)")
    assert "(in 59m" in spelled(to_rfc3339(now + 3_599_000_000))
    assert (age(None), spelled(None)) == ("-", "-")
