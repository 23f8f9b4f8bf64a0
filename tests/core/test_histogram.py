"""Claims about the counts behind the metrics' histograms."""

from inferpool.core.histogram import SECONDS, SIZES, Flushes, Histogram

INFINITY = float("inf")


def test_an_observation_counts_below_every_bound_that_it_does_not_exceed() -> None:
    histogram = Histogram((1.0, 5.0))
    for value in (0.5, 1.0, 1.1, 5.0, 6.0):
        histogram.observe(value)
    assert histogram.buckets() == [(1.0, 2), (5.0, 4), (INFINITY, 5)]
    assert histogram.sum == 13.6


def test_without_an_observation_every_bucket_stands_at_nothing() -> None:
    assert Histogram((1.0,)).buckets() == [(1.0, 0), (INFINITY, 0)]


def test_a_clock_that_was_set_back_takes_nothing_from_the_sum() -> None:
    histogram = Histogram((1.0,))
    histogram.observe(-3.0)
    assert (histogram.buckets(), histogram.sum) == ([(1.0, 1), (INFINITY, 1)], 0.0)


def test_the_bounds_ascend() -> None:
    assert list(SECONDS) == sorted(set(SECONDS))
    assert list(SIZES) == sorted(set(SIZES))


def test_a_writer_counts_its_operations_apart_from_its_seconds() -> None:
    flushes = Flushes()
    flushes.operations.observe(3)
    flushes.seconds.observe(0.002)
    assert [count for _, count in flushes.operations.buckets()][-1] == 1
    assert (flushes.operations.sum, flushes.seconds.sum) == (3.0, 0.002)
