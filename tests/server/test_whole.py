"""Claims about what comes, what goes in one piece: beside uvicorn's own cycle, then over a real socket."""

import asyncio
import logging
from pathlib import Path
from typing import cast

import pytest
from uvicorn._types import HTTPScope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from inferpool.server.corked import CorkedTransport
from inferpool.server.whole import Whole
from tests.server.test_bounded import connected
from tests.server.test_corked import Wire

pytestmark = pytest.mark.anyio
CALL = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
BODY = b'{"model":"nobody","messages":[]}'
LENGTH = (b"content-length", b"4")


class Exchange:
    """A request whose body is here, on a connection that notes what is done to it."""

    def __init__(self, method: str = "POST", *, keep_alive: bool = True) -> None:
        self.wire = Wire()
        self.completed: list[bool] = []
        corked = CorkedTransport(self.wire)
        log = logging.getLogger("uvicorn.error")
        scope = cast("HTTPScope", {"method": method})
        self.cycle = RequestResponseCycle(
            scope=scope,
            transport=corked,
            flow=FlowControl(corked),
            logger=log,
            access_logger=log,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=True,
            keep_alive=keep_alive,
            on_response=self._complete,
        )
        self.cycle.body = bytearray(b"said")
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self.whole = Whole(self.cycle, corked)

    def _complete(self) -> None:
        self.completed.append(self.cycle.response_complete)


async def test_a_whole_answer_is_one_write() -> None:
    exchange = Exchange()
    assert exchange.whole.answer(200, [LENGTH], b"told")
    assert exchange.wire.done == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntold"]
    assert exchange.completed == [True]
    assert (await exchange.cycle.receive())["type"] == "http.disconnect"


async def test_a_connection_that_is_not_kept_is_told_so_then_closed() -> None:
    exchange = Exchange(keep_alive=False)
    assert exchange.whole.answer(200, [LENGTH], b"told")
    assert exchange.wire.done == [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ntold", "closed"]


@pytest.mark.parametrize("value", [b"4\r\nset-cookie: a=b", b"4\n", b"\r4"])
async def test_a_header_is_never_two(value: bytes) -> None:
    exchange = Exchange()
    with pytest.raises(RuntimeError, match="end of a line"):
        exchange.whole.answer(200, [(b"x-said", value)], b"")
    assert exchange.wire.done == []


async def test_what_a_slow_or_lost_client_gets_goes_by_messages() -> None:
    slow, lost, bodiless = Exchange(), Exchange(), Exchange("HEAD")
    slow.cycle.flow.pause_writing()
    lost.cycle.disconnected = True
    for exchange in (slow, lost, bodiless):
        assert not exchange.whole.answer(200, [LENGTH], b"told")
        assert (exchange.wire.done, exchange.completed) == ([], [])


async def test_a_body_that_is_here_is_taken_once_without_a_message() -> None:
    exchange = Exchange()
    assert exchange.whole.take_body() == b"said"
    waiting = asyncio.ensure_future(exchange.cycle.receive())
    exchange.cycle.disconnected = True
    exchange.cycle.message_event.set()
    assert (await waiting)["type"] == "http.disconnect"
    assert exchange.wire.done == []


async def test_a_body_that_is_not_all_here_must_be_received() -> None:
    part, gone = Exchange(), Exchange()
    part.cycle.more_body = True
    gone.cycle.disconnected = True
    assert part.whole.take_body() is None
    assert gone.whole.take_body() is None


async def test_requests_sent_in_one_go_are_answered_in_their_order(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        call = CALL + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
        health = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        await client.send(health + call + health)
        assert [(await client.answer())[0] for _ in range(3)] == [200, 404, 200]


async def test_who_waits_before_it_sends_its_body_is_told_to_go_on(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        await client.send(CALL + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(BODY))
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(BODY)
        assert (await client.answer())[0] == 404


async def test_an_old_clients_connection_ends_with_its_answer(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        await client.send(b"GET /v1/models HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        told = await client.rest()
        assert told.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close\r\n" in told


async def test_a_head_asked_for_alone_comes_without_a_body(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        await client.send(b"HEAD /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        told = await client.rest()
        assert told.startswith(b"HTTP/1.1 405 ")
        assert told.endswith(b"\r\n\r\n")
