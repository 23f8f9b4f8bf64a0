"""An owner for every asyncio task that dispatch starts."""

import asyncio
from collections.abc import Coroutine
from typing import Protocol

from inferpool.core.errors import InferpoolError


class Log(Protocol):
    """Structured logging: an event's name with plain fields, never a prompt or a secret."""

    def info(self, event: str, **fields: str | float | bool | None) -> None: ...

    def warning(self, event: str, **fields: str | float | bool | None) -> None: ...

    def error(self, event: str, **fields: str | float | bool | None) -> None: ...


class Background:
    """Tasks that outlive the request that caused them; `close` ends them in reverse order of their start."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._closed = False

    def spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run `work` to its end; what it raises is logged, for nobody waits for it."""
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        fault = task.exception()
        if fault is not None:
            code = fault.code.value if isinstance(fault, InferpoolError) else type(fault).__name__
            self._log.error("background task failed", task=task.get_name(), code=code, message=str(fault))

    async def close(self) -> None:
        """Cancel what still runs, wait for it."""
        self._closed = True
        tasks = list(self._tasks)
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
