"""An answer's head leaves with its body."""

import asyncio

import pytest

from inferpool.server.corked import CorkedTransport

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire(asyncio.Transport):
    """A connection that notes what is done to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 4711)})
        self.done: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.done.append(bytes(data))

    def close(self) -> None:
        self.done.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.done

    def pause_reading(self) -> None:
        self.done.append("paused")

    def resume_reading(self) -> None:
        self.done.append("resumed")


async def turn_of_the_loop() -> None:
    """Let everything run that is ready to."""
    loop = asyncio.get_running_loop()
    turned = loop.create_future()
    loop.call_soon(turned.set_result, None)
    await turned


async def test_a_head_leaves_with_its_body() -> None:
    wire = Wire()
    corked = CorkedTransport(wire)
    corked.write(HEAD)
    corked.write(b"body")
    await turn_of_the_loop()
    assert wire.done == [HEAD + b"body"]


async def test_a_head_without_a_body_leaves_when_the_loop_has_gone_round() -> None:
    wire = Wire()
    corked = CorkedTransport(wire)
    corked.write(HEAD)
    assert wire.done == []
    await turn_of_the_loop()
    assert wire.done == [HEAD]


async def test_what_is_no_head_leaves_at_once() -> None:
    wire = Wire()
    corked = CorkedTransport(wire)
    corked.write(HEAD)
    for piece in (b"5\r\nfirst\r\n", b"6\r\nsecond\r\n"):
        corked.write(piece)
    assert wire.done == [HEAD + b"5\r\nfirst\r\n", b"6\r\nsecond\r\n"]


async def test_closing_loses_nothing() -> None:
    wire = Wire()
    corked = CorkedTransport(wire)
    corked.write(HEAD)
    corked.close()
    await turn_of_the_loop()
    assert wire.done == [HEAD, "closed"]
    assert corked.is_closing()


async def test_the_rest_of_a_connection_is_as_it_was() -> None:
    wire = Wire()
    corked = CorkedTransport(wire)
    corked.pause_reading()
    corked.resume_reading()
    assert wire.done == ["paused", "resumed"]
    assert corked.get_extra_info("peername") == ("127.0.0.1", 4711)
