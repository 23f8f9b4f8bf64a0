"""Fixtures that every test may ask for."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio alone: it is the only event loop that the product supports."""
    return "asyncio"
