"""The aiohttp transport against real sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from inferpool.client.http import AiohttpTransport, HttpOptions
from inferpool.client.transport import HttpRequest, TransportError
from tests.client.loopback import Paused, echo, listening, moved, short, silent

pytestmark = pytest.mark.anyio


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport(HttpOptions(connect_s=5.0))
    yield made
    await made.close()


def get(url: str, timeout_s: float | None = None, silence_s: float | None = None) -> HttpRequest:
    return HttpRequest(method="GET", url=url, timeout_s=timeout_s, silence_s=silence_s)


async def test_a_body_of_any_size_arrives_byte_for_byte_over_one_connection(transport: AiohttpTransport) -> None:
    async with listening(echo) as server:
        for body in (b"", b"small", bytes(range(256)) * 8192):
            request = HttpRequest(method="POST", url=server.url, headers={"content-type": "a/b"}, body=body)
            async with transport.open(request) as reply:
                assert (reply.status, reply.headers["x-shout"]) == (200, "Yes")
                assert await reply.read() == body
        assert server.connections == 1


async def test_a_server_that_is_not_there_is_a_transport_error(transport: AiohttpTransport) -> None:
    async with listening(echo) as server:
        url = server.url
    with pytest.raises(TransportError, match="no answer"):
        async with transport.open(get(url)):
            pass


async def test_an_address_that_is_none_is_a_transport_error(transport: AiohttpTransport) -> None:
    with pytest.raises(TransportError):
        async with transport.open(get("http://")):
            pass


async def test_a_head_that_does_not_come_in_time_is_a_transport_error(transport: AiohttpTransport) -> None:
    async with listening(silent) as server:
        with pytest.raises(TransportError, match="in time"):
            async with transport.open(get(server.url, timeout_s=0.02)):
                pass


async def test_a_body_that_breaks_off_is_a_transport_error(transport: AiohttpTransport) -> None:
    async with listening(short) as server, transport.open(get(server.url)) as reply:
        with pytest.raises(TransportError, match="broke off"):
            await reply.read()


async def test_a_silent_body_is_a_transport_error(transport: AiohttpTransport) -> None:
    async with (
        listening(Paused()) as server,
        transport.open(get(server.url, silence_s=0.02)) as reply,
    ):
        parts = reply.parts()
        assert await anext(parts) == b"one"
        with pytest.raises(TransportError, match="silent for"):
            await anext(parts)


async def test_a_reader_that_takes_its_time_is_no_silence(transport: AiohttpTransport) -> None:
    paused = Paused()
    loop = asyncio.get_running_loop()
    async with listening(paused) as server, transport.open(get(server.url, silence_s=0.02)) as reply:
        parts = reply.parts()
        assert await anext(parts) == b"one"
        later: asyncio.Future[None] = loop.create_future()
        loop.call_later(0.05, later.set_result, None)
        await later
        paused.go_on.set()
        assert [part async for part in parts] == [b"two"]


async def test_leaving_before_the_end_closes_the_connection(transport: AiohttpTransport) -> None:
    endless = Paused()
    async with listening(endless) as server:
        async with transport.open(get(server.url)) as reply:
            assert await anext(reply.parts()) == b"one"
        async with asyncio.timeout(10):
            await endless.gone.wait()


async def test_a_redirect_is_an_answer(transport: AiohttpTransport) -> None:
    async with listening(moved) as server, transport.open(get(server.url)) as reply:
        assert reply.status == 302


async def test_a_proxy_of_the_environment_is_not_used(
    transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
    async with listening(echo) as server, transport.open(get(server.url)) as reply:
        assert reply.status == 200


async def test_a_closed_transport_opens_anew() -> None:
    transport = AiohttpTransport()
    await transport.close()
    async with listening(echo) as server:
        async with transport.open(get(server.url)) as reply:
            await reply.read()
        await transport.close()
        async with transport.open(get(server.url)) as reply:
            await reply.read()
        assert server.connections == 2
    await transport.close()
