"""The stores that the conformance suite runs on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.store.builders import Rig
from tests.store.rigs import OLD, RACING, RIGS


@pytest.fixture(params=sorted({**RIGS, **OLD}))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """An empty store of each implementation; races ask for more of them by name."""
    async with {**RIGS, **OLD, **RACING}[request.param](tmp_path) as opened:
        yield opened
