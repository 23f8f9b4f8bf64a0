"""Claims about signals: they reach the running loop, on event loops without handlers too."""

import asyncio
import os
import signal

import pytest

from inferpool.host.signals import hearing

pytestmark = pytest.mark.anyio


async def heard() -> None:
    """Waits until a SIGTERM to this very process has arrived in the loop."""
    arrived = asyncio.Event()
    with hearing(arrived.set):
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await arrived.wait()


async def test_a_signal_reaches_the_loop() -> None:
    await heard()


async def test_an_event_loop_that_leaves_signals_to_python_hears_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", unsupported)
    before = signal.getsignal(signal.SIGTERM)
    await heard()
    assert signal.getsignal(signal.SIGTERM) == before


def unsupported(number: int, react: object) -> None:
    """As the event loops of Windows have it."""
    raise NotImplementedError
