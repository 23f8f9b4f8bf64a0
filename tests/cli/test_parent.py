"""Claims about the parent of several processes, its children played by small scripts: when it starts another, when it ends."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from inferpool.cli import parent
from inferpool.cli.parent import Child, Parent
from inferpool.host.log import process_log

pytestmark = pytest.mark.anyio

PATIENCE_S = 30.0
STEADY = "print('ready', flush=True); sys.stdin.read()"
"""Serves until it is told to end."""
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " + STEADY
BRIEF = "print('ready', flush=True); sys.exit(3)"
NEVER = "sys.exit(int(sys.stdin.readline()))"
"""Ends as its orders say, before it is ready."""
ONCE = "import pathlib; mark = pathlib.Path({mark!r}); mark.exists() and sys.exit(2); mark.touch(); " + BRIEF
"""At its next start it says that a setting will not do."""


def played(*scripts: str, orders: bytes = b"1\n") -> list[Child]:
    """Children that run these scripts."""
    log = process_log("json", "info")
    commands: Sequence[Sequence[str]] = [(sys.executable, "-c", "import signal, sys; " + script) for script in scripts]
    return [Child(orders, log, command) for command in commands]


async def ended(children: list[Child]) -> int:
    """How all of them end."""
    return await asyncio.wait_for(Parent(children, "http://127.0.0.1:8010").run(), PATIENCE_S)


async def until_ready(*children: Child) -> None:
    for child in children:
        await asyncio.wait_for(child.ready.wait(), PATIENCE_S)


def tell(times: int = 1) -> None:
    """Send this very process a signal."""
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGTERM)


async def test_a_first_child_that_is_never_ready_ends_all_before_another_is_started(
    capfd: pytest.CaptureFixture[str],
) -> None:
    children = played(NEVER, STEADY)
    assert await ended(children) == 1
    assert not children[1].ready.is_set()
    assert capfd.readouterr().out == ""


async def test_one_that_is_never_ready_ends_those_that_are() -> None:
    children = played(STEADY, NEVER, orders=b"2\n")
    assert await ended(children) == 2


async def test_one_that_ends_in_order_though_nobody_told_it_to_is_a_failure() -> None:
    assert await ended(played(NEVER, orders=b"0\n")) == 1


async def test_one_whose_settings_will_not_do_any_more_ends_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parent, "FIRST_PAUSE_S", 0.01)
    assert await ended(played(STEADY, ONCE.format(mark=str(tmp_path / "mark")))) == 2
    told = capfd.readouterr()
    assert told.out == "inferpool server ready at http://127.0.0.1:8010\n"
    assert '"code": 3' in told.err


async def test_while_it_waits_before_another_start_it_may_be_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "FIRST_PAUSE_S", 2 * PATIENCE_S)
    monkeypatch.setattr(parent, "LONGEST_PAUSE_S", 2 * PATIENCE_S)
    children = played(BRIEF)
    ending = asyncio.create_task(ended(children))
    await until_ready(*children)
    tell()
    assert await ending == 0


async def test_a_third_signal_kills_who_does_not_listen() -> None:
    children = played(STUBBORN, STUBBORN)
    ending = asyncio.create_task(ended(children))
    await until_ready(*children)
    tell(times=3)
    assert await ending == 1


async def test_after_a_steady_life_the_next_start_is_soon(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(parent, "STEADY_S", 0.0)
    monkeypatch.setattr(parent, "FIRST_PAUSE_S", 0.01)
    lives = "import pathlib; mark = pathlib.Path({mark!r}); mark.open('a').write('x'); mark.stat().st_size > 3 and sys.exit(2); "
    await ended(played(lives.format(mark=str(tmp_path / "mark")) + BRIEF))
    assert capfd.readouterr().err.count('"pause_s": 0.01') == 3
