"""Closes a connection that was idle for long, by a timer that is set when it rings instead of with each request."""

from inferpool.server.corked import CorkedProtocol


class KeptProtocol(CorkedProtocol):
    """Uvicorn sets a timer after each answer, ends it with the next request; here the timer looks whether that came."""

    _idle_since: float | None = None
    """When the last answer was sent, by the event loop's clock; None while a request is under way."""

    def on_response_complete(self) -> None:
        """An answer is sent: its connection is idle, unless the next request is here already."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_in(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close what was idle all the while; otherwise look again when it could have been."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # the next answer sets the timer
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_in(left)
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def _unset_keepalive_if_required(self) -> None:
        """Something came: the timer finds that out when it rings."""
        self._idle_since = None

    def _look_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)
