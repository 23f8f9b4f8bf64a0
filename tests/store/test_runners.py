"""Where work is done: inline or on a thread, with the same end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from inferpool.store.runners import InlineRunner, Runner, ThreadRunner

pytestmark = pytest.mark.anyio


async def name_of_thread() -> str:
    return threading.current_thread().name


async def failing() -> str:
    raise KeyError("x")


async def held(gate: threading.Event, begun: threading.Event | None = None) -> bool:
    if begun is not None:
        begun.set()
    return gate.wait()


async def waiting() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.fixture(params=[InlineRunner, lambda: ThreadRunner("worker")])
async def runner(request: pytest.FixtureRequest) -> AsyncIterator[Runner]:
    make: Callable[[], Runner] = request.param
    made = make()
    yield made
    await made.close()


async def test_what_the_work_returns_is_returned(runner: Runner) -> None:
    expected = "worker" if isinstance(runner, ThreadRunner) else threading.current_thread().name
    assert await runner.run(name_of_thread) == expected


async def test_what_the_work_raises_is_raised(runner: Runner) -> None:
    with pytest.raises(KeyError):
        await runner.run(failing)


async def test_work_that_suspends_is_refused() -> None:
    with pytest.raises(RuntimeError, match="waited"):
        await InlineRunner().run(waiting)


async def test_a_wait_given_up_while_the_thread_works_is_passed_over() -> None:
    runner = ThreadRunner("worker")
    for work in (name_of_thread, failing):
        begun, gate = threading.Event(), threading.Event()
        first = asyncio.ensure_future(runner.run(partial(held, gate, begun)))
        second = asyncio.ensure_future(runner.run(work))
        await asyncio.get_running_loop().run_in_executor(None, begun.wait)
        second.cancel()
        gate.set()
        assert await first
    await runner.close()
