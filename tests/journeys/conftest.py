"""A folder with its site for each journey."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.journeys.site import Site, opened_site


@pytest.fixture
async def site(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A site without processes yet; whatever a journey starts is ended with it."""
    async with opened_site(tmp_path) as opened:
        yield opened
