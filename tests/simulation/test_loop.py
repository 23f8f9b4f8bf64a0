"""The virtual loop: time that jumps, processes that stop, continue, die."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.simulation.loop import Endless, Process, Stalled, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop(steps=10_000)
    yield made
    made.finish()


async def tick(times: list[float], every_s: float) -> None:
    for _ in range(3):
        await asyncio.sleep(every_s)
        times.append(asyncio.get_running_loop().time())


def test_time_jumps_to_the_next_timer(loop: VirtualLoop) -> None:
    times: list[float] = []
    loop.run_until_complete(tick(times, 3600.0))
    assert times == [3600.0, 7200.0, 10800.0]


def test_a_program_that_waits_for_nothing_is_told(loop: VirtualLoop) -> None:
    with pytest.raises(Stalled, match="nothing is left to do"):
        loop.run_until_complete(loop.create_future())


async def spin() -> None:
    while True:
        await asyncio.sleep(0)


def test_a_program_that_never_rests_is_told(loop: VirtualLoop) -> None:
    with pytest.raises(Endless):
        loop.run_until_complete(spin())


def start(loop: VirtualLoop, process: Process, times: list[float]) -> None:
    process.spawn(loop, tick(times, 1.0), "tick")


def test_a_stopped_process_sees_no_time_until_it_is_continued(loop: VirtualLoop) -> None:
    process, times = Process("one"), list[float]()
    start(loop, process, times)
    loop.call_later(1.5, loop.stop_process, process)
    loop.call_later(10.0, loop.continue_process, process)
    loop.run_until_complete(asyncio.sleep(20.0))
    assert times == [1.0, 10.0, 11.0]


def test_a_killed_process_runs_not_even_its_farewell(loop: VirtualLoop) -> None:
    process, times, farewells = Process("one"), list[float](), list[str]()
    process.spawn(loop, with_farewell(times, farewells), "tick")
    loop.call_later(1.5, loop.kill_process, process)
    loop.run_until_complete(asyncio.sleep(20.0))
    assert (times, farewells) == ([1.0], [])
    loop.bury()
    loop.run_until_complete(asyncio.sleep(1.0))
    assert farewells == ["bye"]


async def with_farewell(times: list[float], farewells: list[str]) -> None:
    try:
        await tick(times, 1.0)
    finally:
        farewells.append("bye")


def test_the_timers_of_a_process_are_known(loop: VirtualLoop) -> None:
    process = Process("one")
    start(loop, process, [])
    loop.run_until_complete(asyncio.sleep(0.5))
    assert [timer.when() for timer in loop.timers_of(process)] == [1.0]
    loop.run_until_complete(asyncio.sleep(5.0))
    assert loop.timers_of(process) == []


async def in_order(number: int, seen: list[int]) -> None:
    try:
        await asyncio.sleep(9.0)
    finally:
        seen.append(number)


def test_sets_of_tasks_iterate_alike_in_each_run() -> None:
    orders = [cancel_order() for _ in range(5)]
    assert orders == [orders[0]] * 5


def cancel_order() -> list[int]:
    loop, seen = VirtualLoop(steps=10_000), list[int]()
    with pytest.raises(TimeoutError):
        loop.run_until_complete(cancel_group(seen))
    loop.finish()
    return seen


async def cancel_group(seen: list[int]) -> None:
    async with asyncio.timeout(1.0), asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(in_order(number, seen))
