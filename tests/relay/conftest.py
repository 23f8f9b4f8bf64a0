"""One relay for all the tests of a module: its parts take seconds to start, an example takes milliseconds."""

from collections.abc import AsyncIterator

import pytest

from tests.relay.rig import Relay, relaying


@pytest.fixture(scope="module")
async def relay(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Relay]:
    """Server, worker, engine, ready for calls."""
    async with relaying(tmp_path_factory.mktemp("relay")) as made:
        yield made
