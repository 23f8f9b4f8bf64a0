"""Claims about the unit of stored time."""

from inferpool.core.clock import DAY, HOUR, MINUTE, SECOND, micros


def test_the_units_of_time_are_microseconds() -> None:
    assert (SECOND, MINUTE, HOUR, DAY) == (10**6, 60 * 10**6, 3600 * 10**6, 86400 * 10**6)


def test_seconds_become_whole_microseconds() -> None:
    assert micros(1.5) == 1_500_000
    assert micros(0.000_000_6) == 1
    assert isinstance(micros(2), int)
