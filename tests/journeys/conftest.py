"""A folder with its site for each journey, one site for all calls of an official client."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.journeys.cluster import HINTED, Cluster, Member, opened_cluster
from tests.journeys.fleet import CALLERS
from tests.journeys.site import Site, opened_site


@pytest.fixture
async def site(anyio_backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A site without processes yet; whatever a journey starts is ended with it. On SQLite, unless `on_both` says otherwise."""
    if getattr(request, "param", "sqlite") == "postgres":
        async with opened_cluster(tmp_path) as shared:
            yield Member(shared)
    else:
        async with opened_site(tmp_path) as opened:
            yield opened


@pytest.fixture
async def cluster(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    """An empty PostgreSQL database without servers yet; whatever a journey starts is ended with it."""
    async with opened_cluster(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
async def joined(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Two servers for all journeys of a module, a worker with one slot at the first; polls come too late to be of use."""
    async with opened_cluster(tmp_path_factory.mktemp("joined")) as opened:
        await opened.start(settings=HINTED)
        await opened.members[0].start_worker(slots=1)
        await opened.known()
        yield opened
        await opened.conclude()


@pytest.fixture(scope="module")
async def clients_site(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One site for all calls of a module; at the end its ledger agrees with the store."""
    async with opened_site(tmp_path_factory.mktemp("clients")) as opened:
        await opened.start(slots=CALLERS)
        yield opened
        await opened.conclude()
