"""One set-up behind both proxies for all tests of a module; a test sees it through one of them."""

from collections.abc import AsyncIterator

import pytest

from tests.deploy.fronted import COUNTS, FrontedSite, opened_fronted_site
from tests.deploy.proxies import KINDS


@pytest.fixture(scope="module")
async def fronted_site(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FrontedSite]:
    """The set-up; whatever it started ends with the module's tests."""
    async with opened_fronted_site(tmp_path_factory.mktemp("fronted")) as opened:
        yield opened


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The proxy by which a test comes."""
    name: str = request.param
    return name


@pytest.fixture(params=COUNTS, ids=["one server", "two servers"])
def count(request: pytest.FixtureRequest) -> int:
    """How many servers the proxy knows."""
    number: int = request.param
    return number


@pytest.fixture
def site(fronted_site: FrontedSite, kind: str, count: int) -> FrontedSite:
    """The set-up as callers of that proxy see it."""
    fronted_site.server_url = fronted_site.proxies[kind, count].url
    return fronted_site
