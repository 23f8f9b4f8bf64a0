"""Fixtures that every test may ask for."""

import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.store.throwaway import throw_all_away

# A shell starts background work with Ctrl-C ignored, and children inherit that: tests that press it need it back.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How fast an example runs tells of the machine's other work, not of the code: no deadline.
settings.register_profile("inferpool", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inferpool")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio alone: it is the only event loop that the product supports."""
    return "asyncio"


def pytest_sessionfinish() -> None:
    """Stop the databases that the tests started."""
    throw_all_away()
