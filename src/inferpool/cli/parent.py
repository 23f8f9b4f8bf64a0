"""Runs several equal server processes that share one port (`inferpool serve --processes N`).

It imports little, serves nobody, opens no database: each child is a whole server. The first one starts alone, so that it
migrates the database, so that whatever stands against serving is told once.
"""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from structlog.typing import FilteringBoundLogger

from inferpool.cli.exits import ExitCode
from inferpool.host.log import process_log
from inferpool.host.ports import EVERYWHERE, SHARES, claimed, is_everywhere, url_of
from inferpool.host.signals import hearing
from inferpool.settings import ServeSettings, SettingError, Settings, database

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 10.0
"""A child that lived for so long has not failed at its start: the next one is started after the shortest pause."""

COMMAND: Final = (sys.executable, "-m", "inferpool.cli.child")
INSIST: Final = b"now\n"
"""What a child hears by the pipe when it is to wait for nobody. No second signal says so: a supervisor that signals all
processes of a service would then be misunderstood, whose signal comes beside the parent's."""
_FINE: Final = frozenset({ExitCode.DONE, -signal.SIGTERM})
"""How a child ends that was told to; by the signal itself where it had just been started."""


def run_processes(settings: Settings) -> int:
    """Serve until SIGTERM or Ctrl-C; gives the exit code.

    Raises `SettingError` where several processes cannot serve, `OSError` for a port that is taken.
    """
    serve = settings.serve
    _check(serve)
    with claimed(serve.host.strip("[]"), serve.port) as claim:
        log = process_log(settings.shared.log_format, settings.shared.log_level)
        if is_everywhere(claim):
            log.info(EVERYWHERE)
        own = msgspec.structs.replace(serve, port=claim.getsockname()[1])
        orders = msgspec.json.encode(msgspec.structs.replace(settings, serve=own)) + b"\n"
        parent = Parent([Child(orders, log) for _ in range(serve.processes)], url_of(claim))
        return asyncio.run(parent.run())


def _check(settings: ServeSettings) -> None:
    where = database(settings.database_url)
    if isinstance(where, Path):
        raise SettingError(
            f"processes: {where} is SQLite, one file that one process writes, so {settings.processes} cannot serve it; "
            "give a PostgreSQL database by --database-url, or leave --processes at 1"
        )
    if not SHARES:
        raise SettingError(
            f"processes: this system ({sys.platform}) does not spread connections over processes that share a port; start "
            "several `inferpool serve` with a --port each, behind a proxy"
        )


class Child:
    """One server process, started anew whenever it ends by itself."""

    def __init__(self, orders: bytes, log: FilteringBoundLogger, command: Sequence[str] = COMMAND) -> None:
        """`orders`: the settings, as a line."""
        self._orders = orders
        self._log = log
        self._command = command
        self._process: Process | None = None
        self._told = 0
        self._is_told = asyncio.Event()
        self._failures = 0
        self.ready = asyncio.Event()
        """Set once it was ready for the first time."""

    async def run(self) -> int:
        """The exit code with which it ended for good.

        That is when it was told to, when it was never ready, when it says that a setting will not do.
        """
        while True:
            code = await self._live()
            if self._told or not self.ready.is_set() or code == ExitCode.USAGE:
                return code
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**self._failures)
            self._log.warning("a server process ended by itself: starting another", code=code, pause_s=pause)
            self._failures = min(self._failures + 1, 30)
            if await self._told_within(pause):
                return ExitCode.DONE

    def tell(self) -> None:
        """End; the second time without waiting for anybody, the third time whatever it does."""
        self._told += 1
        self._is_told.set()
        if self._process is not None and self._process.returncode is None:
            _tell(self._process, self._told)

    async def _live(self) -> int:
        """From its start to its end; the exit code, or the signal that killed it as a negative number."""
        # In a session of its own: a Ctrl-C of the terminal reaches the parent alone, which passes it on once.
        process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE, start_new_session=True)
        self._process = process
        if process.stdin is not None and process.stdout is not None:
            process.stdin.write(self._orders)  # never closed before the end of either: see `cli/child.py`
            for times in range(1, self._told + 1):  # it was told while it was being made
                _tell(process, times)
            if await process.stdout.readline():
                await self._serve(process)
        return await process.wait()

    async def _serve(self, process: Process) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        self._log.info("a server process is ready", pid=process.pid)
        self.ready.set()
        await process.wait()
        if loop.time() - since >= STEADY_S:
            self._failures = 0

    async def _told_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._is_told.wait()
        except TimeoutError:
            return False


def _tell(process: Process, times: int) -> None:
    if times == 1:
        process.terminate()
    elif times > 2:
        process.kill()
    elif process.stdin is not None:
        process.stdin.write(INSIST)


class Parent:
    """All of them: started, told when to end."""

    def __init__(self, children: list[Child], url: str) -> None:
        self._children = children
        self._url = url
        self._signals = 0

    async def run(self) -> int:
        """Until each has ended; the exit code is that of the first that failed for good."""
        with hearing(self._signalled):
            running = [asyncio.create_task(self._children[0].run())]
            if await self._all_ready(running) and not self._signals:
                running += [asyncio.create_task(child.run()) for child in self._children[1:]]
                if await self._all_ready(running):
                    self._announce()
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            failed = None if self._signals else next(task.result() for task in running if task.done())
            if failed is not None:
                self._tell_all()
            codes = await asyncio.gather(*running)
        return _verdict(failed, codes)

    async def _all_ready(self, running: list[asyncio.Task[int]]) -> bool:
        """Whether all of these came so far, rather than that one of them has ended."""
        ready = [asyncio.create_task(child.ready.wait()) for child in self._children[: len(running)]]
        for one in ready:
            await asyncio.wait((one, *running), return_when=asyncio.FIRST_COMPLETED)
            one.cancel()
        return not any(task.done() for task in running)

    def _announce(self) -> None:
        sys.stdout.write(f"inferpool server ready at {self._url}\n")
        sys.stdout.flush()

    def _signalled(self) -> None:
        self._signals += 1
        self._tell_all()

    def _tell_all(self) -> None:
        for child in self._children:
            child.tell()


def _verdict(failed: int | None, codes: list[int]) -> int:
    """The exit code of all: 0 only when none had failed (None) before they were told to end, which they did."""
    if failed is None:
        return ExitCode.DONE if set(codes) <= _FINE else ExitCode.FAILED
    return failed if failed == ExitCode.USAGE else ExitCode.FAILED
