"""Claims about heads that are too long, too slow, or none at all, about bodies that trickle in, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest

from inferpool.server import bounded
from inferpool.server.bounded import HEAD_MOST, BoundedProtocol
from inferpool.server.options import ServerOptions
from inferpool.server.routes import ROUTES
from inferpool.wire.sessions import CancelRun
from tests.server.rig import PATIENCE_S
from tests.server.scripted_worker import bound_worker
from tests.server.test_run import Running, free, served

pytestmark = pytest.mark.anyio
LINE = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n"


class Client:
    """One connection of a client that writes its requests by hand."""

    def __init__(self, server: Running, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
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

    async def until(self, end: bytes) -> bytes:
        """What comes up to this."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readuntil(end)

    async def rest(self) -> bytes:
        """What comes until the server closes the connection."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read()

    async def ended(self) -> bool:
        """Whether the server closed the connection."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self._reader.read() == b""
            except ConnectionResetError:
                return True


@asynccontextmanager
async def connected(folder: Path, options: ServerOptions | None = None) -> AsyncIterator[Client]:
    """A connection to a server of its own."""
    async with served(folder, options or free()) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield Client(server, reader, writer)
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
        body = b'{"model":"nobody","messages":["' + b"x" * (16 * HEAD_MOST) + b'"]}'
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        for parts in ([body], [body[:-1], body[-1:]]):
            await client.send(head + b"Content-Length: %d\r\n\r\n" % len(body))
            await client.send(*parts)
            status, told = await client.answer()
            assert (status, code(told)) == (404, "model_not_found")
        await client.send(LINE[:10])
        assert await client.server.status("/healthz") == 200
        await client.send(LINE[10:], b"\r\n")
        assert (await client.answer())[0] == 200


async def test_a_slow_sender_holds_up_nobody_but_itself(tmp_path: Path) -> None:
    body = b'{"model":"nobody","messages":[]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    async with served(tmp_path, free()) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        slow = Client(server, reader, writer)
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
        for route in ROUTES:
            if "{name:path}" not in route.path:
                continue
            path, body = route.path.replace("{name:path}", name), b'{"messages":[]}' if route.method == "POST" else b""
            head = f"{route.method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            await client.send(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            status, told = await client.answer()
            assert (status, code(told) in {"not_found", "model_not_found"}) == (404, True)
            error = told["error"]
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
        assert (status, code(body)) == (408, "request_timeout")
        assert await client.ended()


async def test_a_second_head_that_is_too_slow_is_given_up_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(tmp_path) as client:
        await client.send(LINE + b"\r\n")
        assert (await client.answer())[0] == 200
        monkeypatch.setattr(BoundedProtocol, "head_s", 0.05)
        await client.send(LINE)
        assert (await client.answer())[0] == 408


POST = b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("length", [b"Content-Length: 99\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"])
@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/messages", "/api/v1/inference-tasks", "/api/v1/sessions"]
)
async def test_a_body_that_trickles_in_is_given_up_in_its_apis_words(tmp_path: Path, path: str, length: bytes) -> None:
    async with connected(tmp_path, msgspec.structs.replace(free(), body_s=0.05)) as client:
        await client.send(b"POST " + path.encode() + POST + length + b'{"mod')
        status, body = await client.answer()
        assert body.get("type") == ("error" if "messages" in path else None)
        assert (status, code(body)) == (408, "request_timeout")
        assert await client.ended()
        assert client.server.rig.log.entries == []
        assert await client.server.rig.rows() == 0
        assert client.server.rig.dispatch.backlog.counts.tasks == 0


async def test_a_body_earns_its_time_by_coming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "BODY_RATE", 1)
    async with connected(tmp_path, msgspec.structs.replace(free(), body_s=0.05)) as client:
        body = b'{"model":"nobody","messages":[]}'
        head = b"POST /v1/chat/completions" + POST + b"Content-Length: %d\r\n\r\n" % len(body)
        await client.send(head + body[:1], body[1:-1])
        late = asyncio.get_running_loop().time() + 0.1
        while asyncio.get_running_loop().time() < late:
            assert await client.server.status("/v1/models") == 200
        await client.send(body[-1:])
        assert (await client.answer())[0] == 404


async def test_who_has_an_answer_already_is_not_told_that_the_rest_is_late(tmp_path: Path) -> None:
    async with connected(tmp_path, msgspec.structs.replace(free(), body_s=0.05)) as client:
        await client.send(b"POST /nowhere" + POST + b"Content-Length: 99\r\n\r\n{")
        assert (await client.answer())[0] == 404
        assert await client.ended()


@pytest.mark.parametrize("second", [LINE, b"POST /v1/chat/completions" + POST + b"Content-Length: 9\r\n\r\n{"])
async def test_what_comes_before_its_turn_is_late_only_after_the_answer_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: bytes
) -> None:
    body = b'{"model":"m","messages":[]}'
    async with connected(tmp_path, msgspec.structs.replace(free(), body_s=0.05)) as client:
        worker = await bound_worker(client.server.rig)
        assert await client.server.status("/healthz") == 200  # both connections are there, under the usual limit
        monkeypatch.setattr(BoundedProtocol, "head_s", 0.05)
        await client.send(
            b"POST /v1/chat/completions" + POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + second
        )
        infer = await worker.infer()
        late = asyncio.get_running_loop().time() + 0.2
        while asyncio.get_running_loop().time() < late:
            assert await client.server.status("/healthz") == 200
        await worker.answer(infer, body='{"a":1}')
        assert await client.answer() == (200, {"a": 1})
        status, told = await client.answer()
        assert (status, code(told)) == (408, "request_timeout")
        assert await client.ended()


async def test_rubbish_after_a_call_ends_it_without_a_word_in_its_stream(tmp_path: Path) -> None:
    body = b'{"model":"m","messages":[],"stream":true}'
    async with connected(tmp_path) as client:
        worker = await bound_worker(client.server.rig)
        await client.send(b"POST /v1/chat/completions" + POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        infer = await worker.infer()
        await worker.begin(infer, "a")
        assert (await client.until(b"data: a\n\n")).startswith(b"HTTP/1.1 200 ")
        await client.send(b"rubbish\r\n\r\n")
        assert await client.rest() == b"\r\n"
        assert isinstance(await worker.frame(), CancelRun)


async def test_a_client_that_goes_without_a_word_is_forgotten(tmp_path: Path) -> None:
    async with served(tmp_path, free()) as server:
        host, port = server.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        await writer.wait_closed()
        assert await server.status("/v1/models") == 200
