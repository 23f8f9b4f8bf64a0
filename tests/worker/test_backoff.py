"""Pauses between tries."""

from inferpool.worker.backoff import Backoff, Ceiling
from tests.worker.parts import HalfJitter


def test_pauses_double_up_to_a_quarter_of_the_grace() -> None:
    backoff = Backoff(HalfJitter(), Ceiling(grace_s=2.0))
    pauses = [round(backoff.next_s(), 4) for _ in range(5)]
    assert pauses == [0.075, 0.15, 0.3, 0.375, 0.375]


def test_pauses_are_short_again_after_something_worked() -> None:
    backoff = Backoff(HalfJitter(), Ceiling(grace_s=10.0))
    backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() < 0.1


def test_the_servers_own_grace_bounds_them_from_then_on() -> None:
    ceiling = Ceiling(grace_s=10.0)
    backoff = Backoff(HalfJitter(), ceiling)
    ceiling.set(0.1)
    assert max(backoff.next_s() for _ in range(40)) <= 0.025
