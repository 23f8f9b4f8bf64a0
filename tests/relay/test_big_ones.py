"""Claims about what is long: a prompt of a megabyte, an answer of megabytes whose caller does not read."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from tests.relay.rig import TASKS, Relay
from tests.relay.streams import HEAD
from tests.server.rig import PATIENCE_S
from tests.wire.test_sse import by_the_book

pytestmark = pytest.mark.anyio
CHAT: Final = "/v1/chat/completions"
ENDLESS: Final = f"{HEAD}Connection: close\r\n\r\n".encode()
LAST: Final = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
WORD: Final = '{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % ("x" * 2**16)
ASKED: Final = b'{"model":"m","messages":[],"stream":true}'
WORDS: Final = 150
"""More bytes than the sockets on the way hold."""


async def test_a_prompt_of_a_megabyte_reaches_the_engine_as_it_was_written(relay: Relay) -> None:
    body = b'{ "model":"m","messages":[{"role":"user","content":"' + "\N{SNOWMAN}".encode() * 350_000 + b'"}],"a":1.10}'
    relay.engine.segments, relay.engine.bodies = [ENDLESS, LAST], []
    kind = {"content-type": "application/json"}
    async with relay.server.http.post(relay.server.url + CHAT, data=io.BytesIO(body), headers=kind) as reply:
        assert reply.status == 200
        await reply.read()
    assert relay.engine.bodies == [body]


async def test_a_caller_that_does_not_read_loses_nothing_holds_up_nobody(relay: Relay) -> None:
    relay.engine.segments, relay.engine.breaks = [ENDLESS, *[f"data: {WORD}\n\n".encode()] * WORDS, LAST], False
    before = await newest(relay)
    async with asyncio.timeout(PATIENCE_S), asked(relay.server.url) as reader:
        while (found := await newest(relay)) == before or found[1] != "completed":
            pass  # the answer is whole although nobody took it
        assert (await relay.stream("chat/completions", ENDLESS, LAST)).status == 200
        assert f"inferpool-task-id: {found[0]}".encode() in await reader.readuntil(b"\r\n\r\n")
        events = by_the_book(dechunked(await reader.read()))
    assert [event.data for event in events[:WORDS]] == [WORD] * WORDS
    assert events[-1].data == "[DONE]"


@asynccontextmanager
async def asked(url: str) -> AsyncIterator[asyncio.StreamReader]:
    """A streamed call over a connection whose end holds next to nothing."""
    host, port = url.removeprefix("http://").split(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(slow, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=slow, limit=4096)
    try:
        writer.write(b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" % CHAT.encode())
        writer.write(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(ASKED), ASKED))
        yield reader
    finally:
        writer.close()


async def newest(relay: Relay) -> tuple[str, str]:
    """The newest task's id with its status."""
    async with relay.server.http.get(f"{relay.server.url}{TASKS}?limit=1") as reply:
        tasks = (await reply.json())["data"]
        return (str(tasks[0]["id"]), str(tasks[0]["status"])) if tasks else ("", "")


def dechunked(body: bytes) -> bytes:
    """The body without the frames of HTTP's chunks."""
    parts: list[bytes] = []
    while True:
        size, _, body = body.partition(b"\r\n")
        if not int(size, 16):
            return b"".join(parts)
        parts.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
