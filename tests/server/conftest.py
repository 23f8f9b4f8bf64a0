"""Fixtures of the server's tests: the application over a fresh store, with a worker or without one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.server.rig import Rig, running
from tests.server.scripted_worker import ScriptedWorker, bound_worker


@pytest.fixture
async def rig(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Rig]:
    """A ready server that no worker knows."""
    async with running(tmp_path) as made:
        yield made


@pytest.fixture
async def worker(rig: Rig) -> ScriptedWorker:
    """A worker of that server which serves the llm `m` with four slots."""
    return await bound_worker(rig)
