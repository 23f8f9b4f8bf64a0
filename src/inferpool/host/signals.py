"""Hears Ctrl-C with SIGTERM inside a running event loop, on every system that Python runs on."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def hearing(react: Callable[[], None]) -> Iterator[None]:
    """Within the block each of these signals calls `react` in the running loop instead of ending the process."""
    loop = asyncio.get_running_loop()
    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, react)
    except NotImplementedError:  # the event loops of Windows leave signals to Python
        before = [signal.signal(number, _Passed(loop, react)) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(number, handler)
        return
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


class _Passed:
    """A handler of Python's own that passes the signal on to the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, react: Callable[[], None]) -> None:
        self._loop = loop
        self._react = react

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._react)
