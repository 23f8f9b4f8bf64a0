"""The world around one worker, for every test of this folder."""

import pytest

from tests.worker.workers import House


@pytest.fixture
def house() -> House:
    """Nothing has happened in it yet."""
    return House()
