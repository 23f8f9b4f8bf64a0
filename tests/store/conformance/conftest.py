"""The stores that the conformance suite runs on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.store.builders import Rig
from tests.store.rigs import RIGS


@pytest.fixture(params=sorted(RIGS))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """An empty store of each implementation."""
    async with RIGS[request.param](tmp_path) as opened:
        yield opened
