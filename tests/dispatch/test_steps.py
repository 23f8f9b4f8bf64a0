"""Clean-up in small steps, under virtual time."""

import asyncio
from collections.abc import Iterator

import pytest

from inferpool.dispatch.steps import REST, repeat
from tests.simulation.loop import VirtualLoop

MOST = 10
"""Rows that one step takes."""


class Work:
    """Clean-up of so many rows, each of which takes a second."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.begun: list[float] = []

    async def once(self) -> int:
        loop = asyncio.get_running_loop()
        self.begun.append(loop.time())
        done = min(self.rows, MOST)
        self.rows -= done
        future = loop.create_future()
        loop.call_later(done, future.set_result, None)
        await future
        return done


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop(steps=10_000)
    yield made
    made.finish()


def test_all_rows_go_with_a_rest_after_each_full_step(loop: VirtualLoop) -> None:
    work = Work(25)
    assert loop.run_until_complete(repeat(work.once, MOST)) == 25
    step = MOST + REST * MOST
    assert work.begun == [0.0, step, 2 * step]


def test_a_step_that_is_not_full_is_the_last(loop: VirtualLoop) -> None:
    work = Work(3)
    assert loop.run_until_complete(repeat(work.once, MOST)) == 3
    assert work.begun == [0.0]


def test_what_takes_too_long_is_left_for_the_next_time(loop: VirtualLoop) -> None:
    work = Work(100)
    assert loop.run_until_complete(repeat(work.once, MOST, longest_s=MOST + 1)) == 2 * MOST
    assert work.rows == 80
