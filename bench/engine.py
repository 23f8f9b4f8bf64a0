"""A scripted engine in a process of its own: fixed answers, streams as fast as they are read.

It speaks just enough HTTP/1.1 for the clients that this project has: bodies with a length, connections kept alive.
"""

import argparse
import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import ClassVar, Final, cast

import uvloop

from bench.script import DONE, MODELS, USAGE, Wish, answer_body, frame, payloads, read_wish

SLICE: Final = 32
"""Chunks written at once before another stream has its turn."""
COUNT_PATH: Final = "/count"
"""Tells how many answers were given."""
_STREAM_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_LAST_PIECE: Final = b"0\r\n\r\n"


class Conversation(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    given: ClassVar[int] = 0
    """Answers of all connections."""

    def __init__(self) -> None:
        self._received = b""
        self._pieces: Iterator[bytes] = iter(())
        self._streaming = False
        self._may_write = True
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._received += data
        while (request := self._next_request()) is not None:
            self._answer(*request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever asked went away: say no more."""
        self._pieces = iter(())
        self._streaming = False

    def pause_writing(self) -> None:
        """The reader is slow."""
        self._may_write = False

    def resume_writing(self) -> None:
        """The reader has caught up."""
        self._may_write = True
        self._pour()

    def _next_request(self) -> tuple[bytes, bytes] | None:
        head, mark, rest = self._received.partition(b"\r\n\r\n")
        if not mark:
            return None
        length = _content_length(head)
        if len(rest) < length:
            return None
        self._received = rest[length:]
        return head.split(b" ", 2)[1], rest[:length]

    def _answer(self, path: bytes, body: bytes) -> None:
        wish = read_wish(body)
        if path == b"/v1/models":
            self._send(MODELS)
        elif path == COUNT_PATH.encode():
            self._send(b"%d" % self.given)
        elif wish is None:
            self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        elif wish.delay_ms:
            self._loop.call_later(wish.delay_ms / 1000, self._say, wish, body)
        else:
            self._say(wish, body)

    def _say(self, wish: Wish, body: bytes) -> None:
        if self._transport.is_closing():
            return
        Conversation.given += 1
        if not wish.chunks:
            self._send(answer_body(wish.call))
            return
        self._transport.write(_STREAM_HEAD)
        self._pieces = _stream(wish, with_usage=b'"include_usage":true' in body)
        self._streaming = True
        self._pour()

    def _send(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)

    def _pour(self) -> None:
        """Write a slice, then let others write theirs."""
        if not (self._streaming and self._may_write):
            return
        pieces = list(islice(self._pieces, SLICE))
        self._transport.write(b"".join(pieces))
        self._streaming = len(pieces) == SLICE
        if self._streaming and self._may_write:
            self._loop.call_soon(self._pour)


def _stream(wish: Wish, *, with_usage: bool) -> Iterator[bytes]:
    """The stream in the pieces of a chunked body, one frame a piece as engines send them."""
    usage = [USAGE] if with_usage else []
    for payload in (*payloads(wish), *usage, DONE):
        piece = frame(payload)
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield _LAST_PIECE


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(port: int) -> None:
    """Serve on the loopback until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Conversation, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    """Read the port, serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
