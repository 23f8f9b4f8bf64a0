"""Fixtures that every test may ask for."""

import pytest
from hypothesis import HealthCheck, settings

# How fast an example runs tells of the machine's other work, not of the code: no deadline.
settings.register_profile("inferpool", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inferpool")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio alone: it is the only event loop that the product supports."""
    return "asyncio"
