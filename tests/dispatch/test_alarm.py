"""Claims about the one timer of many short waits, on a clock that jumps."""

import asyncio
from collections.abc import Iterator

import pytest

from inferpool.dispatch.alarm import Alarm
from tests.simulation.loop import VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop(steps=10_000)
    yield made
    made.finish()


async def given_up_at(alarm: Alarm, after_s: float) -> float:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    alarm.set(future, after_s)
    await future
    return loop.time()


async def all_given_up_at(*after_s: float) -> list[float]:
    alarm = Alarm(asyncio.get_running_loop())
    return await asyncio.gather(*(given_up_at(alarm, one) for one in after_s))


@pytest.mark.parametrize("after_s", [(0.25, 0.25, 0.25), (0.25, 0.5, 1.0), (1.0, 0.25, 0.5, 0.25)])
def test_each_is_given_up_when_its_time_is_over(loop: VirtualLoop, after_s: tuple[float, ...]) -> None:
    assert loop.run_until_complete(all_given_up_at(*after_s)) == pytest.approx(after_s, abs=0.002)


def test_it_rings_again_for_who_comes_later(loop: VirtualLoop) -> None:
    alarm = Alarm(loop)
    assert loop.run_until_complete(given_up_at(alarm, 0.25)) == pytest.approx(0.25)
    assert loop.run_until_complete(given_up_at(alarm, 0.25)) == pytest.approx(0.5)


def test_who_was_answered_keeps_nobody_awake(loop: VirtualLoop) -> None:
    alarm = Alarm(loop)
    answered: asyncio.Future[None] = loop.create_future()
    alarm.set(answered, 0.5)
    answered.set_result(None)
    assert loop.run_until_complete(given_up_at(alarm, 0.25)) == pytest.approx(0.25)
    assert loop.run_until_complete(given_up_at(alarm, 1.0)) == pytest.approx(1.25)
