"""The composition root: the one file that knows every part, with the real clock, chance, disk, network behind it.

Everything below is handed these from here, so that the same code runs in a simulation.
"""

import asyncio
import contextlib
import gc
import random
import secrets
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol, cast

import msgspec
import uuid_utils
from structlog.typing import FilteringBoundLogger

from inferpool.client.http import AiohttpTransport, HttpOptions
from inferpool.client.server import Patience
from inferpool.core import failpoints
from inferpool.core.clock import Micros, micros
from inferpool.core.ids import ServerId
from inferpool.dispatch.options import DispatchOptions
from inferpool.dispatch.service import Dispatch, Parts
from inferpool.host.log import process_log
from inferpool.host.room import LITTLE, room_for, spelled
from inferpool.host.signals import hearing
from inferpool.server.gate import ServerParts
from inferpool.server.options import ServerOptions
from inferpool.server.run import Stop, say, serve
from inferpool.settings import (
    ServeSettings,
    SettingError,
    Settings,
    SharedSettings,
    WorkerSettings,
    check_host,
    database,
    state_path,
)
from inferpool.store.opening import Pair, open_store, place
from inferpool.worker.disk import StateFolder
from inferpool.worker.log import Log as WorkerLog
from inferpool.worker.options import OutboxOptions, WorkerOptions
from inferpool.worker.parts import WorkerParts
from inferpool.worker.run import Worker

ENGINE_KEEP_ALIVE_S: Final = 2.0
"""Engines close unused connections after as little as 5 s; a request must not race that."""

NEXT_SERVER_S: Final = 3.0
"""How long a connection to one of several servers may take, whose machine may be off while others are there."""

GARBAGE_THRESHOLDS: Final = (20_000, 50, 100)
"""How many objects are made between two looks for unreachable cycles, how many looks between those at the older ones.
A call makes hundreds of objects in no cycle: the interpreter's own thresholds cost 7 % of the server's time, 15 % of a
worker's (measured)."""

new_secret: Final = partial(secrets.token_urlsafe, 32)
"""Makes 256 random bits as text."""


class WallClock:
    """The machine's own clock."""

    def now_us(self) -> Micros:
        """See `Clock`."""
        return time.time_ns() // 1000


def new_id() -> str:
    """A UUIDv7, larger than every one made before in this process."""
    return str(uuid_utils.uuid7())


# ---- the server -------------------------------------------------------------------------------------------------------


async def run_server(
    settings: Settings,
    announce: Callable[[str], None] = say,
    stop: Stop | None = None,
    own_token: str | None = None,
    *,
    shared: bool = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C, or until the `stop` that is handed in says so; `own_token`: see `Makers`.

    `shared`: equal processes listen on the same port.

    Raises `SettingError`, `StoreUnavailable` (another server uses the file, say), `OSError` for a port that is taken.
    """
    look_for_garbage_seldom()
    log = make_log(settings.shared)
    arm_failpoint(settings.shared.failpoint)
    where, dead_after = database(settings.serve.database_url), micros(settings.serve.dead_s)
    pair = await open_store(where, WallClock(), new_id(), dead_after)
    try:
        await check_openness(pair, settings.serve, log)
        warn_of_little_room(where, log)
        dispatch = make_dispatch(pair, settings.serve, log, own_token)
        options = msgspec.structs.replace(server_options(settings.serve), shared=shared)
        await serve(dispatch, options, ServerParts(new_id=new_id, log=log), announce, stop)
    finally:
        await pair.close()


async def check_openness(pair: Pair, settings: ServeSettings, log: FilteringBoundLogger) -> None:
    """Say whom the server will serve. Raises `SettingError` where that would be everybody, unless it is told to."""
    where = place(database(settings.database_url))
    if await pair.reader.any_token():
        log.info("there are tokens, so every call needs one", database=where)
    elif settings.insecure:
        log.warning("insecure: there are no tokens, so whoever reaches this server may use it", database=where)
    else:
        check_host(settings.host)
        log.info("open: there are no tokens, so whoever uses this machine may use this server", database=where)


def warn_of_little_room(where: Path | str, log: FilteringBoundLogger) -> None:
    """Say it before the disk is full: then every call is refused until there is room."""
    room = room_for(where) if isinstance(where, Path) else None
    if room is not None and room < LITTLE:
        log.warning(
            "little room on the disk: make some before calls are refused", database=str(where), free=spelled(room)
        )


def make_dispatch(
    pair: Pair, settings: ServeSettings, log: FilteringBoundLogger, own_token: str | None = None
) -> Dispatch:
    """The use cases over an open store, under a server id of their own."""
    parts = Parts(
        clock=WallClock(),
        new_id=new_id,
        new_secret=new_secret,
        jitter=random.Random(),
        log=log,
        own_token=own_token,
        signals=pair.signals,
    )
    return Dispatch(pair.store, pair.reader, dispatch_options(settings), parts, ServerId(new_id()))


def server_options(settings: ServeSettings) -> ServerOptions:
    """The settings of the HTTP side."""
    return ServerOptions(
        host=settings.host.strip("[]"),
        port=settings.port,
        insecure=settings.insecure,
        max_body_bytes=settings.max_body_bytes,
        body_s=settings.body_s,
        headers_wait_s=settings.headers_wait_s,
        comment_s=settings.comment_s,
        drain_s=settings.drain_s,
    )


def dispatch_options(settings: ServeSettings) -> DispatchOptions:
    """The settings of the use cases; what the database's clock decides in its microseconds."""
    return DispatchOptions(
        grace_s=settings.grace_s,
        heartbeat_s=settings.heartbeat_s,
        silence_s=settings.silence_s,
        ping_s=settings.ping_s,
        slot_release_s=settings.slot_release_s,
        poll_s=settings.poll_s,
        beat_s=settings.beat_s,
        sweep_s=settings.sweep_s,
        sweep_limit=settings.sweep_limit,
        wait_limit_s=settings.wait_limit_s,
        run_limit=micros(settings.run_limit_s),
        stale_after=micros(settings.stale_after_s),
        forget_after=micros(settings.forget_after_s),
        keep_tasks=micros(settings.keep_tasks_s),
        keep_chunks=micros(settings.keep_chunks_s),
        keep_keys=micros(settings.keep_keys_s),
        keep_audit=micros(settings.keep_audit_s),
        queue_tasks=settings.queue_tasks,
        queue_bytes=settings.queue_bytes,
        stream_bytes=settings.stream_bytes,
        feed_bytes=settings.feed_bytes,
    )


# ---- the worker -------------------------------------------------------------------------------------------------------


async def run_worker(settings: Settings) -> None:
    """Work until SIGTERM or Ctrl-C, then leave; a second signal ends it at once: what waits is on disk.

    Raises `SettingError`, `Conflict` when another worker of that name runs here, what `Worker.run` raises.
    """
    arm_failpoint(settings.shared.failpoint)
    look_for_garbage_seldom()
    async with open_worker(settings) as worker:
        await until_signalled(worker)


@contextlib.asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[Worker]:
    """A worker on its folder, with its connections. Raises `Conflict` when another of that name runs here."""
    options = worker_options(settings)
    log = make_worker_log(settings.shared, options.name)
    folder = StateFolder(state_path(settings.worker.state_folder) / f"worker-{options.name}")
    server = AiohttpTransport(server_connections(settings.shared.server))
    engine = AiohttpTransport(HttpOptions(keep_alive_s=ENGINE_KEEP_ALIVE_S))
    parts = WorkerParts(server, engine, folder, new_id, new_secret, WallClock(), random.Random(), log)
    try:
        yield Worker(options, parts)
    finally:
        await engine.close()
        await server.close()
        folder.close()


def server_connections(urls: Sequence[str]) -> HttpOptions:
    """How a worker connects to its server, or to whichever of several is there."""
    return HttpOptions(connect_s=NEXT_SERVER_S) if len(urls) > 1 else HttpOptions()


def worker_options(settings: Settings) -> WorkerOptions:
    """The settings of a worker."""
    own = settings.worker
    return WorkerOptions(
        name=own.name or socket.gethostname(),
        version=version("inferpool"),
        server_urls=settings.shared.server,
        server_token=settings.shared.token,
        engine_urls=own.engine,
        local_engines=own.local_engines,
        engine_key=own.engine_api_key,
        models=own.model,
        pool=own.pool,
        slots=own.slots,
        probe_s=own.probe_s,
        probe_timeout_s=own.probe_timeout_s,
        silence_s=own.engine_silence_s,
        leave_s=own.leave_s,
        flush_s=own.flush_s,
        outbox=_outbox_options(own),
        patience=Patience(answer_s=own.answer_s, channel_s=own.channel_s),
    )


def _outbox_options(settings: WorkerSettings) -> OutboxOptions:
    return OutboxOptions(shelve_after_s=settings.shelve_after_s, disk_retry_s=settings.disk_retry_s)


class Duty(Protocol):
    """What runs until it is told to leave."""

    async def run(self) -> None: ...

    def leave(self) -> None: ...


async def until_signalled(duty: Duty) -> None:
    """Run the duty; the first SIGTERM or Ctrl-C tells it to leave, the next one cancels it."""
    working = asyncio.ensure_future(duty.run())
    with hearing(partial(_signalled, duty, asyncio.Event(), working)), contextlib.suppress(asyncio.CancelledError):
        await working


def _signalled(duty: Duty, leaving: asyncio.Event, working: asyncio.Future[None]) -> None:
    if leaving.is_set():
        working.cancel()
    leaving.set()
    duty.leave()


# ---- what both need ---------------------------------------------------------------------------------------------------


def look_for_garbage_seldom() -> None:
    """Never again look at what was imported; look at what is made later once in a while."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def make_log(settings: SharedSettings) -> FilteringBoundLogger:
    """A log on the error output. Whoever writes to it never hands in a prompt, an answer, a secret."""
    return process_log(settings.log_format, settings.log_level)


def make_worker_log(settings: SharedSettings, name: str) -> WorkerLog:
    """The same log, each line with the worker's name."""
    return cast("WorkerLog", process_log(settings.log_format, settings.log_level, worker=name))


def arm_failpoint(setting: str | None) -> None:
    """Let the process stop itself where `NAME[:N]` says. Raises `SettingError` for a place that does not exist."""
    if setting is None:
        return
    name, colon, count = setting.partition(":")
    try:
        failpoints.arm(name, StopAt(int(count) if colon else 1))
    except ValueError as error:
        raise SettingError(f"failpoint: {setting!r} is not NAME or NAME:N: {error}") from error


class StopAt:
    """Stops this process, as SIGSTOP does, the N-th time that it is called: a test looks, then kills or goes on."""

    def __init__(self, count: int) -> None:
        self._left = count

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            # A signal to the process could let this very thread run on until another one has taken it: into the commit, say.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
