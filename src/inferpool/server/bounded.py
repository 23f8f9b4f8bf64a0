"""Bounds how large, how slow a request may come, refuses what is no HTTP in the one shape of errors."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from inferpool.core.errors import InferpoolError, InvalidRequest, RequestTimeout, TooLarge
from inferpool.server.corked import CorkedTransport
from inferpool.server.kept import KeptProtocol
from inferpool.server.request import endpoint_of
from inferpool.server.whole import WHOLE, Whole
from inferpool.wire.dialects import Dialect, dialect_of
from inferpool.wire.problems import problem_of

HEAD_MOST: Final = 64 * 1024
"""Bytes of a request's line with its headers."""
BODY_RATE: Final = 8 * 1024
"""Bytes of a body that earn it one more second: a slow line is no reason to refuse, a trickle is."""


class _HeadTooLarge(Exception):
    """Leaves the parser, which turns it into an error of its own."""


class BoundedProtocol(KeptProtocol):
    """A connection whose requests come within their bounds.

    What runs with each request names its base class: until Python 3.12 `super()` searches anew each time.
    """

    head_s = 30.0
    """Seconds for the whole head."""
    body_s = 30.0
    """Seconds for the whole body, beside those that it earns by coming."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _in_body = False
    _read = 0
    """Bytes since the head began, whatever else came with its last ones."""
    _too_large = False
    _body_since = 0.0
    """When the wait for the body began, by the event loop's clock."""
    _body_read = 0
    _served = False
    """There is, or was, a request whose head is complete: uvicorn's `cycle` is the newest one's."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there: its first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on. A head that does not end is refused before it fills the memory."""
        self._read = self._read + len(data) if self._in_head else len(data)
        KeptProtocol.data_received(self, data)
        if self.transport.is_closing():
            return
        if self._in_head and self._read > HEAD_MOST:
            self._refuse_size()
        elif self._in_head and self._timer is None:
            self._await_head()
        elif self._in_body and self._timer is None:
            self._await_body()

    def on_message_begin(self) -> None:
        """A request begins."""
        KeptProtocol.on_message_begin(self)
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Its head is complete: the request is served, its body awaited."""
        self._in_head = False
        self._in_body, self._body_read = True, 0
        self._came()
        read, self._read = self._read, 0
        if read > HEAD_MOST and self._head_size() > HEAD_MOST:
            self._too_large = True
            raise _HeadTooLarge
        KeptProtocol.on_headers_complete(self)
        self.scope["state"][WHOLE] = Whole(self.cycle, cast("CorkedTransport", self.transport))
        self._served = True

    def on_body(self, body: bytes) -> None:
        """A part of its body came."""
        self._body_read += len(body)
        KeptProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_body = False
        self._read = 0
        self._came()
        KeptProtocol.on_message_complete(self)

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's way to refuse, with our words."""
        self._came()
        if self._too_large:
            self._refuse_size()
        else:
            self._refuse(InvalidRequest("this is no HTTP/1.1 request"))

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _await_head(self) -> None:
        self._within(self.head_s, self._head_late)

    def _await_body(self) -> None:
        self._body_since = self.loop.time()
        self._within(self.body_s, self._body_late)

    def _within(self, seconds: float, late: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(seconds, late)

    def _came(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_late(self) -> None:
        self._timer = None
        if self._served and not self.cycle.response_complete:  # an earlier request is still being answered
            self._await_head()
            return
        self._refuse(RequestTimeout(f"the head of the request did not come within {self.head_s:g} s: send it at once"))

    def _body_late(self) -> None:
        self._timer = None
        if self.pipeline or self.flow.read_paused:  # it is this server that is not ready for it yet
            self._await_body()
            return
        left = self._body_since + self.body_s + self._body_read / BODY_RATE - self.loop.time()
        if left > 0:
            self._within(left, self._body_late)
            return
        self._refuse(
            RequestTimeout(
                f"the body of the request did not come within {self.body_s:g} s, with one more for each {BODY_RATE} bytes "
                "of it: send it faster"
            ),
            dialect_of(endpoint_of(str(self.scope["path"]))),
        )

    def _refuse_size(self) -> None:
        self._came()
        self._refuse(
            TooLarge(
                f"the request's line with its headers has more than {HEAD_MOST} bytes: send fewer or shorter headers"
            )
        )

    def _refuse(self, error: InferpoolError, dialect: Dialect = Dialect.OPENAI) -> None:
        """Answer, close: what else the client sends would be read as its next request.

        In the midst of an earlier answer, or after one that did not need the rest, there is nothing to say.
        """
        done = self._served and self.cycle.response_complete and not self._in_body
        if done or not (self._served and self.cycle.response_started):
            problem = problem_of(error, dialect=dialect)
            self.transport.write(
                b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (problem.status, len(problem.body), problem.body)
            )
        self.transport.close()


def bounded_by(body_s: float) -> type[BoundedProtocol]:
    """The protocol with this bound for bodies."""
    return cast("type[BoundedProtocol]", type("BoundedBy", (BoundedProtocol,), {"body_s": body_s}))
