"""Bounds the head of a request in size as in time, refuses what is no HTTP in the one shape of errors."""

import asyncio
from typing import Final

from inferpool.core.errors import InferpoolError, InvalidRequest, TooLarge
from inferpool.server.corked import CorkedProtocol
from inferpool.wire.problems import problem_of

HEAD_MOST: Final = 64 * 1024
"""Bytes of a request's line with its headers."""


class _HeadTooLarge(Exception):
    """Leaves the parser, which turns it into an error of its own."""


class BoundedProtocol(CorkedProtocol):
    """A connection whose requests begin within their bounds."""

    head_s = 30.0
    """Seconds for the whole head."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _read = 0
    """Bytes since the head began, whatever else came with its last ones."""
    _too_large = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there: its first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on. A head that does not end is refused before it fills the memory."""
        self._read += len(data)
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if self._read > HEAD_MOST:
            self._refuse_size()
        elif self._timer is None:
            self._await_head()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Its head is complete: the request is served."""
        self._in_head = False
        self._head_came()
        read, self._read = self._read, 0
        if read > HEAD_MOST and self._head_size() > HEAD_MOST:
            self._too_large = True
            raise _HeadTooLarge
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's way to refuse, with our words."""
        self._head_came()
        if self._too_large:
            self._refuse_size()
        else:
            self._refuse(InvalidRequest("this is no HTTP/1.1 request"))

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self.head_s, self._head_late)

    def _head_came(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_late(self) -> None:
        self._timer = None
        self._refuse(InvalidRequest(f"the head of the request did not come within {self.head_s:g} s: send it at once"))

    def _refuse_size(self) -> None:
        self._head_came()
        self._refuse(
            TooLarge(
                f"the request's line with its headers has more than {HEAD_MOST} bytes: send fewer or shorter headers"
            )
        )

    def _refuse(self, error: InferpoolError) -> None:
        """Answer, close: what else the client sends would be read as its next request."""
        problem = problem_of(error)
        self.transport.write(
            b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (problem.status, len(problem.body), problem.body)
        )
        self.transport.close()
