"""Takes a request's body, sends an answer, each in one piece, past the messages of ASGI.

A call's body is here before its handler runs, its answer is known as a whole. As messages the two cost 6 % of the server's
work a call: coroutines, dictionaries, uvicorn's look at each header. Whatever does not come in one piece goes by messages.
"""

from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from inferpool.server.asgi import Headers
from inferpool.server.corked import CorkedTransport

WHOLE: Final = "inferpool.whole"
"""Where a request's state keeps it; a request that comes by other ways than uvicorn has none."""
_CLOSE: Final = (b"connection", b"close")


class Whole:
    """A request with its answer, as uvicorn keeps them (its `RequestResponseCycle`, whose two methods these shorten)."""

    __slots__ = ("_cycle", "_transport")

    def __init__(self, cycle: RequestResponseCycle, transport: CorkedTransport) -> None:
        self._cycle = cycle
        self._transport = transport

    def take_body(self) -> bytes | None:
        """The body; None where it must be received: more of it is to come, or the client is gone."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected:
            return None
        body = bytes(cycle.body)
        cycle.body = bytearray()
        cycle.waiting_for_100_continue = False
        cycle.flow.resume_reading()
        cycle.message_event.clear()
        return body

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a whole answer; its headers hold the body's length. False: it must be sent by messages.

        Raises `RuntimeError` for headers that would be more than they say.
        """
        cycle, transport = self._cycle, self._transport
        if cycle.flow.write_paused or cycle.disconnected or cycle.scope["method"] == "HEAD":
            return False
        told = headers if cycle.keep_alive else [*headers, _CLOSE]
        head = STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in told]) + b"\r\n"
        if head.count(b"\n") != len(told) + 2 or head.count(b"\r") != len(told) + 2:
            raise RuntimeError("a header of the answer holds the end of a line")
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        transport.write_whole(head + body)
        cycle.message_event.set()
        if not cycle.keep_alive:
            transport.close()
        cycle.on_response()
        return True
