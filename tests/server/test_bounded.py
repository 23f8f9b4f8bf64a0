"""Claims about heads that are too long, too slow, or none at all, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest

from inferpool.server.bounded import HEAD_MOST, BoundedProtocol
from tests.server.rig import PATIENCE_S
from tests.server.test_run import free, served

pytestmark = pytest.mark.anyio
LINE = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n"


class Client:
    """One connection of a client that writes its requests by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, object]]:
        """The status with the JSON body of one answer."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            body: dict[str, object] = msgspec.json.decode(await self._reader.readexactly(int(length)))
            return int(head.split(b" ")[1]), body

    async def ended(self) -> bool:
        """Whether the server closed the connection."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self._reader.read() == b""
            except ConnectionResetError:
                return True


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[Client]:
    """A connection to a server of its own."""
    async with served(folder, free()) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


def code(body: dict[str, object]) -> object:
    error = body["error"]
    assert isinstance(error, dict)
    assert {"message", "type", "param", "code"} == set(error)
    return error["code"]


@pytest.mark.parametrize(
    "head",
    [
        LINE + b"X-Big: " + b"x" * HEAD_MOST + b"\r\n\r\n",
        LINE + b"X-Small: y\r\n" * (HEAD_MOST // 12) + b"\r\n",
        b"GET /" + b"x" * HEAD_MOST + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
)
async def test_an_oversized_head_is_a_413(tmp_path: Path, head: bytes) -> None:
    async with connected(tmp_path) as client:
        await client.send(head)
        status, body = await client.answer()
        assert (status, code(body)) == (413, "too_large")
        assert await client.ended()


async def test_a_head_that_does_not_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        await client.send(LINE + b"X-Endless: ")
        await client.send(*[b"x" * (HEAD_MOST // 4)] * 5)
        assert (await client.answer())[0] == 413
        assert await client.ended()


async def test_a_big_body_beside_a_small_head_is_served_as_is_the_next_request(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        body = b'{"model":"nobody","messages":["' + b"x" * (2 * HEAD_MOST) + b'"]}'
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        await client.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        status, told = await client.answer()
        assert (status, code(told)) == (404, "model_not_found")
        await client.send(LINE[:10])
        await client.send(LINE[10:], b"\r\n")
        assert (await client.answer())[0] == 200


async def test_a_slow_sender_holds_up_nobody_but_itself(tmp_path: Path) -> None:
    body = b'{"model":"nobody","messages":[]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    async with served(tmp_path, free()) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        slow = Client(reader, writer)
        await slow.send(head + b"Content-Length: %d\r\n\r\n" % len(body), body[:5])
        assert await server.status("/v1/models") == 200
        for number in range(5, len(body)):
            await slow.send(body[number : number + 1])
        assert (await slow.answer())[0] == 404
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("name", ["hf.co%2Fx%2Fy%3AQ4%40box", "a%20b", "%F0%9F%A6%99", "100%25", "a%3Fb%23c"])
async def test_names_in_the_path_arrive_as_they_were_meant(tmp_path: Path, name: str) -> None:
    async with connected(tmp_path) as client:
        await client.send(b"GET /api/v1/llms/%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % name.encode())
        status, body = await client.answer()
        assert (status, code(body)) == (404, "not_found")
        error = body["error"]
        assert isinstance(error, dict)
        assert repr(unquote(name)) in error["message"]


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n"])
async def test_what_is_no_http_is_told_so_in_our_shape(tmp_path: Path, sent: bytes) -> None:
    async with connected(tmp_path) as client:
        await client.send(sent)
        status, body = await client.answer()
        assert (status, code(body)) == (400, "invalid_request")
        assert await client.ended()


@pytest.mark.parametrize("begun", [b"", LINE])
async def test_a_head_that_is_too_slow_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(BoundedProtocol, "head_s", 0.05)
    async with connected(tmp_path) as client:
        await client.send(begun)
        status, body = await client.answer()
        assert (status, code(body)) == (400, "invalid_request")
        assert await client.ended()


async def test_a_second_head_that_is_too_slow_is_given_up_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(tmp_path) as client:
        await client.send(LINE + b"\r\n")
        assert (await client.answer())[0] == 200
        monkeypatch.setattr(BoundedProtocol, "head_s", 0.05)
        await client.send(LINE)
        assert (await client.answer())[0] == 400


async def test_a_client_that_goes_without_a_word_is_forgotten(tmp_path: Path) -> None:
    async with served(tmp_path, free()) as server:
        host, port = server.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        await writer.wait_closed()
        assert await server.status("/v1/models") == 200
