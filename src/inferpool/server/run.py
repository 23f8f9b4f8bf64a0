"""Runs the application under uvicorn, from its ready line to the end of its shutdown."""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Final

import uvicorn

from inferpool.core.errors import Forbidden
from inferpool.dispatch.service import Dispatch
from inferpool.host.ports import BACKLOG, EVERYWHERE, is_everywhere, listening, sharing, url_of
from inferpool.host.signals import hearing
from inferpool.server.app import build_app
from inferpool.server.bounded import bounded_by
from inferpool.server.gate import ServerParts
from inferpool.server.options import ServerOptions

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def say(line: str) -> None:
    """A line on standard output, at once: whoever started the process waits for it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def serve(
    dispatch: Dispatch,
    options: ServerOptions,
    parts: ServerParts,
    announce: Callable[[str], None] = say,
    stop: "Stop | None" = None,
) -> None:
    """Open the dispatch, serve it until SIGTERM or SIGINT, then shut down as spec section 9 says; it is closed afterwards.

    A `stop` that is handed in takes the place of the signals. While the dispatch opens, the port answers already, unless it
    is shared: `/readyz` with 503. Raises `Forbidden` for an address that others could reach, `OSError` when the port is taken.
    """
    await dispatch.access.recall()
    _check_reach(options, closed=not dispatch.access.open)
    listener = sharing(options.host, options.port) if options.shared else listening(options.host, options.port)
    if is_everywhere(listener) and not options.shared:
        parts.log.info(EVERYWHERE)
    server = _Uvicorn(_config(dispatch, options, parts))
    told = stop or Stop()
    told.insisted.add_done_callback(partial(_insist, server))
    with hearing(told.signalled) if stop is None else nullcontext():
        if options.shared:
            await _open_first(dispatch, listener)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
        try:
            if not options.shared:
                await dispatch.open()
            announce(f"inferpool server ready at {url_of(listener)}")
            await asyncio.wait((told.asked, serving), return_when=asyncio.FIRST_COMPLETED)
            await _drain(dispatch, options, told)
        finally:
            await dispatch.close()
            server.should_exit = True
            await serving


async def _open_first(dispatch: Dispatch, listener: socket.socket) -> None:
    """Open the dispatch before anybody is let in: the processes beside this one answer meanwhile."""
    try:
        await dispatch.open()
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        await dispatch.close()
        raise


async def _drain(dispatch: Dispatch, options: ServerOptions, stop: "Stop") -> None:
    """Let accepted calls end, unless a second signal says that nobody waits for them."""
    draining = asyncio.create_task(dispatch.drain(options.drain_s), name="drain")
    await asyncio.wait((draining, stop.insisted), return_when=asyncio.FIRST_COMPLETED)
    if draining.done():
        draining.result()
    else:
        draining.cancel()


def _check_reach(options: ServerOptions, *, closed: bool) -> None:
    """Raises `Forbidden` for an address that others could reach, unless a token keeps them out or they are let in."""
    if options.host not in _LOOPBACK and not (closed or options.insecure):
        raise Forbidden(
            f"without tokens, inferpool listens only on this machine, not on {options.host!r}: use 127.0.0.1",
            param="host",
        )


def _config(dispatch: Dispatch, options: ServerOptions, parts: ServerParts) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(dispatch, options, parts),
        http=bounded_by(options.body_s),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=options.keep_alive_s,
        timeout_graceful_shutdown=options.farewell_s,
    )


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its own signal handlers: they close the listener first, and with it the workers' way in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def _insist(server: uvicorn.Server, insisted: asyncio.Future[None]) -> None:
    server.force_exit = not insisted.cancelled()


class Stop:
    """The signals that end the server: the first asks, the second insists. Made inside a running event loop."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.asked: asyncio.Future[None] = loop.create_future()
        self.insisted: asyncio.Future[None] = loop.create_future()

    def signalled(self) -> None:
        """Note one more of them."""
        if self.asked.done():
            self.insist()
        self.ask()

    def ask(self) -> None:
        """End, with time for whoever waits."""
        if not self.asked.done():
            self.asked.set_result(None)

    def insist(self) -> None:
        """Wait for nobody."""
        if not self.insisted.done():
            self.insisted.set_result(None)
