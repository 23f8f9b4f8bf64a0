"""How long, how much, how fast a chaos run is."""

import asyncio
from typing import Final

import msgspec

SHORT: Final = {
    "grace_s": "1.5",
    "poll_s": "0.25",
    "beat_s": "0.4",
    "dead_s": "1.5",
    "ping_s": "0.4",
    "heartbeat_s": "0.4",
    "silence_s": "2",
    "slot_release_s": "2",
    "stale_after_s": "8",
    "comment_s": "1",
    "drain_s": "1",
    "sweep_s": "2",
}
"""Server settings under which every wait is short."""
HASTY: Final = {"answer_s": "2", "channel_s": "2"}
"""Those of workers."""
STOPPED_S: Final = 4.0
"""Longer than it takes for a stopped server to count as dead, then for the grace to be over."""
LOST_S: Final = 10.0
"""By then a worker that cannot be heard has lost its session."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is asked for. Times are seconds."""

    seed: int
    faults: int = 64
    tasks: int = 2000
    servers: int = 3
    workers: int = 4
    slots: int = 12
    overlap: float = 0.3
    """The share of faults whose end the next one does not wait for."""
    callers: int = 36
    """A third each: blocked calls, streams, asynchronous tasks."""
    quiet_s: float = 30.0
    """Under load before the first fault: what the rate is measured against."""
    pace: int = 30
    """Tasks that end between one fault's end, the next one's begin."""
    settle_s: float = 10.0
    """After the last fault, before the rate is measured again."""
    again_s: float = 10.0
    words: int = 10
    every_ms: int = 50


async def lapse(seconds: float) -> None:
    """Let real time pass: how long a fault lasts, how long a rate is measured. Nothing is awaited that way."""
    loop = asyncio.get_running_loop()
    passed: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, passed.set_result, None)
    try:
        await passed
    finally:
        timer.cancel()
