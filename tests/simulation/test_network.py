"""The in-memory network: what arrives, what is lost, who notices."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from random import Random

import pytest

from inferpool.client.transport import HttpRequest, TransportError
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.network import Network, Receive, Scope, Send
from tests.simulation.trace import Trace
from tests.simulation.weather import CALM, Weather


class World:
    """One client, one server that says three parts, on one network."""

    def __init__(self, loop: VirtualLoop, seed: int = 1) -> None:
        self.loop = loop
        self.network = Network(loop, Random(seed), Trace(loop))
        self.client, self.server = Process("client"), Process("server")
        self.seen: list[str] = []
        self.gap_s = 1.0
        self.network.serve("host:1", self.app, self.server)
        self.transport = self.network.transport(self.client)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await receive()
        self.seen.append(f"{scope['method']} {scope['path']} {request['body']!r}")
        watch = asyncio.ensure_future(receive())
        watch.add_done_callback(lambda done: self.seen.append("gone") if not done.cancelled() else None)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Word", b"yes")]})
        for part in (b"one ", b"two ", b"three"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(self.gap_s)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        watch.cancel()

    def run(self, work: Coroutine[object, object, str]) -> str:
        return self.loop.run_until_complete(self.loop.create_task(work, context=self.client.context.copy()))


@pytest.fixture
def world() -> Iterator[World]:
    loop = VirtualLoop(steps=10_000)
    yield World(loop)
    loop.finish()


def request(timeout_s: float | None = 5.0) -> HttpRequest:
    return HttpRequest(
        method="POST", url="http://host:1/a%20b?q=1", body=b"hi", timeout_s=timeout_s, silence_s=timeout_s
    )


async def ask(world: World) -> str:
    async with world.transport.open(request()) as reply:
        return f"{reply.status} {reply.headers['x-word']} {(await reply.read()).decode()}"


async def failing(work: Callable[[World], Coroutine[object, object, str]], world: World) -> str:
    with pytest.raises(TransportError):
        await work(world)
    return f"{world.loop.time():.1f}"


async def first_parts(parts: AsyncIterator[bytes]) -> str:
    return (await anext(parts)).decode()


async def ask_for_one_part(world: World) -> str:
    async with world.transport.open(request()) as reply:
        return await first_parts(reply.parts())


def kill(world: World, process: Process) -> None:
    world.loop.kill_process(process)
    world.network.vanish(process)


def test_a_request_is_answered_part_by_part(world: World) -> None:
    assert world.run(ask(world)) == "200 yes one two three"
    assert world.seen == ["POST /a b b'hi'"]
    assert world.network.open_links == 0


def test_a_client_that_leaves_is_noticed(world: World) -> None:
    assert world.run(ask_for_one_part(world)) == "one "
    world.loop.run_until_complete(asyncio.sleep(5.0))
    assert world.seen[1:] == ["gone"]


def test_a_lost_request_is_never_seen(world: World) -> None:
    world.network.weather = Weather(lost=1.0)
    world.run(failing(ask, world))
    world.loop.run_until_complete(asyncio.sleep(60.0))
    assert world.seen == []


def test_a_request_whose_answer_is_lost_was_processed(world: World) -> None:
    world.network.weather = Weather(answer_lost=1.0)
    world.run(failing(ask, world))
    assert len(world.seen) >= 1


def test_a_repeated_request_is_seen_twice(world: World) -> None:
    world.network.weather = Weather(repeated=1.0)
    assert world.run(ask(world)) == "200 yes one two three"
    world.loop.run_until_complete(asyncio.sleep(60.0))
    assert world.seen.count("POST /a b b'hi'") == 2


def test_a_late_request_is_seen_after_its_sender_gave_up(world: World) -> None:
    world.network.weather = Weather(late=1.0)
    given_up = float(world.run(failing(ask, world)))
    assert world.seen == []
    world.loop.run_until_complete(asyncio.sleep(60.0))
    assert world.seen[0] == "POST /a b b'hi'"
    assert given_up <= 5.0


@pytest.mark.parametrize("seed", range(10))
def test_a_cut_is_noticed_by_each_side(seed: int) -> None:
    loop = VirtualLoop(steps=10_000)
    world = World(loop, seed)
    world.gap_s = 30.0
    world.network.weather = Weather(cut=1.0, half_open=0.5)
    world.run(failing(ask, world))
    loop.run_until_complete(asyncio.sleep(100.0))
    assert world.seen[1:] == ["gone"]
    loop.finish()


def test_a_server_that_is_down_refuses(world: World) -> None:
    world.network.refuse("host:1")
    assert world.run(failing(ask, world)) == "0.0"


def test_the_end_of_a_killed_server_is_noticed(world: World) -> None:
    world.network.later(1.5, partial(kill, world, world.server))
    assert world.run(failing(ask, world)) == "1.5"


def test_the_end_of_a_killed_client_is_noticed(world: World) -> None:
    world.client.spawn(world.loop, ask(world), "asks")
    world.network.later(1.5, partial(kill, world, world.client))
    world.loop.run_until_complete(asyncio.sleep(60.0))
    assert world.seen[1:] == ["gone"]


def test_a_request_to_a_stopped_server_waits_for_its_continuation(world: World) -> None:
    world.loop.stop_process(world.server)
    world.network.later(2.0, lambda: world.loop.continue_process(world.server))
    assert world.run(ask(world)) == "200 yes one two three"
    assert world.loop.time() > 4.0


def test_no_more_than_patience_is_spent_on_a_silent_server(world: World) -> None:
    world.loop.stop_process(world.server)
    assert world.run(failing(ask, world)) == "5.0"
    assert world.network.weather is CALM
