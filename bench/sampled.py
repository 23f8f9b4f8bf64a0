"""Runs a module under a sampler that is driven by its main thread's own CPU time.

A wall clock would count the waiting for a core, for the disk; this one ticks only while the event loop works. What it
cannot see is the time of other threads.
"""

import ctypes
import runpy
import signal
import struct
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

INTERVAL_NS: Final = 1_000_000
"""The kernel rounds it up to its own tick: so the weight of a sample is computed from the time in all."""
_THREAD_CPU_CLOCK: Final = 3
_TO_THREAD: Final = 4
_EVENT: Final = "Piii44x"
"""`struct sigevent` of Linux: a value, the signal, how it is told, to which thread."""
_TIMES: Final = "llll"
"""`struct itimerspec`: seconds, nanoseconds of the interval; the same of the first tick."""


class Sampler:
    """Counts the stacks of the main thread at each tick."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[CodeType, ...]] = Counter()

    def start(self) -> None:
        """Tick from now on. Raises `OSError` where the kernel has no such timer."""
        signal.signal(signal.SIGPROF, self._tick)
        libc = ctypes.CDLL(None, use_errno=True)
        event = struct.pack(_EVENT, 0, signal.SIGPROF, _TO_THREAD, threading.get_native_id())
        timer = ctypes.c_void_p()
        if libc.timer_create(_THREAD_CPU_CLOCK, event, ctypes.byref(timer)):
            raise OSError(ctypes.get_errno(), "timer_create")
        libc.timer_settime(timer, 0, struct.pack(_TIMES, 0, INTERVAL_NS, 0, INTERVAL_NS), None)

    def save(self, path: Path) -> None:
        """Write a line a stack: its functions from the outermost on, joined by `;`, then the microseconds spent in it."""
        signal.signal(signal.SIGPROF, signal.SIG_IGN)
        each_us = time.thread_time() * 1e6 / max(1, self._seen.total())
        lines = [";".join(map(_name, stack)) + f" {count * each_us:.0f}" for stack, count in self._seen.items()]
        path.write_text("\n".join(lines), encoding="utf-8")

    def _tick(self, number: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        self._seen[tuple(reversed(stack))] += 1


def _name(code: CodeType) -> str:
    path = code.co_filename.rpartition("site-packages/")[2].rpartition("src/inferpool/")[2]
    return f"{code.co_qualname} ({path})".replace(" ", "\u00a0")


def main() -> None:
    """`python -m bench.sampled OUTPUT MODULE ARGUMENTS…`."""
    output, module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    sampler = Sampler()
    sampler.start()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sampler.save(Path(output))


if __name__ == "__main__":
    main()
