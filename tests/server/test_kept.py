"""Claims about connections that are idle, on a clock that jumps."""

from collections.abc import Iterator

import pytest
import uvicorn
from uvicorn.server import ServerState

from inferpool.server.asgi import Receive, Scope, Send
from inferpool.server.kept import KeptProtocol
from tests.server.test_corked import Wire
from tests.simulation.loop import VirtualLoop

KEPT_S = 75
ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


class Connection:
    """A client's connection, with the clock."""

    def __init__(self) -> None:
        self.loop = VirtualLoop(steps=10_000)
        config = uvicorn.Config(answer, ws="none", lifespan="off", log_config=None, timeout_keep_alive=KEPT_S)
        self.state = ServerState()
        self.wire = Wire()
        self.protocol = KeptProtocol(config, self.state, {}, _loop=self.loop)

    def ask(self, times: int = 1) -> None:
        self.protocol.data_received(ASK * times)
        self.rest(0)

    def rest(self, seconds: float) -> None:
        over = self.loop.create_future()
        self.loop.call_later(seconds, over.set_result, None)
        self.loop.run_until_complete(over)

    @property
    def closed(self) -> bool:
        return self.wire.is_closing()

    async def come(self) -> None:
        self.protocol.connection_made(self.wire)


@pytest.fixture
def connection() -> Iterator[Connection]:
    made = Connection()
    made.loop.run_until_complete(made.come())
    yield made
    made.loop.finish()


def test_an_idle_connection_is_closed_when_its_time_is_over(connection: Connection) -> None:
    connection.ask()
    connection.rest(KEPT_S - 1)
    assert not connection.closed
    connection.rest(2)
    assert connection.closed


def test_its_time_begins_anew_with_each_answer(connection: Connection) -> None:
    for _ in range(5):
        connection.ask()
        connection.rest(KEPT_S - 1)
        assert not connection.closed
    connection.rest(2)
    assert connection.closed
    assert connection.state.total_requests == 5


def test_many_answers_need_one_timer(connection: Connection) -> None:
    connection.ask()
    timer = connection.protocol.timeout_keep_alive_task
    connection.ask(3)
    connection.rest(1)
    assert timer is connection.protocol.timeout_keep_alive_task
    assert connection.state.total_requests == 4


def test_a_request_under_way_is_not_idle(connection: Connection) -> None:
    connection.ask()
    connection.protocol.data_received(ASK[:10])
    connection.rest(2 * KEPT_S)
    assert not connection.closed
    connection.protocol.data_received(ASK[10:])
    connection.rest(KEPT_S - 1)
    assert not connection.closed
    connection.rest(2)
    assert connection.closed


def test_a_lost_connection_leaves_no_timer(connection: Connection) -> None:
    connection.ask()
    connection.protocol.connection_lost(OSError("reset"))
    assert connection.protocol.timeout_keep_alive_task is None
