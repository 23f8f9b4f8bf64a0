"""Claims about where both proxies send a request, in which words: before servers that say what they were asked."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from yarl import URL

from tests.deploy.echoes import Echo, decode, three_echoes
from tests.deploy.proxies import KINDS, Proxy, proxy_before

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

SESSION: Final = "/api/v1/sessions/0198f2a0-7c11-7d3e-8f7a-5f2f6f0d9f{:02}"
ROUTES: Final = ("/channel", "/events", "/requests/0198f2a0-7c11-7d3e-8f7a-5f2f6f0d9f11/1", "", "?x=/y")
NAMES: Final = (
    "/api/v1/llms/hf.co%2Fx%2Fy%3AQ4%40box/infer",
    "/api/v1/llms/hf.co/x/y:Q4@box",
    "/v1/models/a%2fb%252Fc?limit=1&cursor=%2F",
    "/v1/models/a//b/./c",
    "/api/v1/pools/%C3%A9%20caf",
)


class Asking:
    """A client of one proxy, with the servers behind it."""

    def __init__(self, proxy: Proxy, echoes: list[Echo], http: aiohttp.ClientSession) -> None:
        self.proxy = proxy
        self.echoes = echoes
        self._http = http

    async def get(self, path: str, **headers: str) -> dict[str, str]:
        """What the server behind the proxy saw of a request; the path goes out as it is."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._http.get(URL(self.proxy.url + path, encoded=True), headers=named) as reply:
            assert reply.status == 200, await reply.text()
            return decode(await reply.read())

    async def homes(self, count: int = 20) -> dict[str, str]:
        """The server to which everything goes that sessions say."""
        found = {}
        for session in (SESSION.format(place) for place in range(count)):
            [found[session]] = {(await self.get(session + route))["server"] for route in ROUTES}
        return found


@asynccontextmanager
async def asking_of(kind: str, folder: Path) -> AsyncIterator[Asking]:
    """A proxy before three servers."""
    async with AsyncExitStack() as opened:
        echoes = await opened.enter_async_context(three_echoes())
        http = await opened.enter_async_context(aiohttp.ClientSession())
        addresses = [echo.address for echo in echoes]
        yield Asking(await opened.enter_async_context(proxy_before(kind, addresses, folder)), echoes, http)


@pytest.fixture(params=KINDS)
async def asking(anyio_backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Asking]:
    """Each of the proxies."""
    async with asking_of(request.param, tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("path", NAMES)
async def test_a_path_goes_on_as_it_was_sent(asking: Asking, path: str) -> None:
    assert (await asking.get(path))["line"] == f"GET {path} HTTP/1.1"


async def test_a_server_learns_who_asks_under_which_name_over_a_connection_that_stays(asking: Asking) -> None:
    seen = await asking.get("/v1/models", Host="llm.example:8010", Authorization="Bearer ip_x")
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert (seen["host"], seen["authorization"]) == ("llm.example:8010", "Bearer ip_x")
    assert seen.get("connection", "keep-alive") == "keep-alive"


async def test_all_that_a_session_says_goes_to_one_server_sessions_to_all(asking: Asking) -> None:
    homes = await asking.homes()
    assert set(homes.values()) == {"one", "two", "three"}
    assert await asking.homes() == homes


async def test_calls_are_spread_over_the_servers(asking: Asking) -> None:
    answered = Counter([(await asking.get("/v1/models"))["server"] for _ in range(30)])
    assert set(answered) == {"one", "two", "three"}


async def test_a_server_that_is_gone_costs_nobody_an_answer_its_sessions_alone_move(asking: Asking) -> None:
    homes = await asking.homes()
    gone = asking.echoes[0]
    await gone.close()
    for path in ("/v1/models", *homes):
        assert (await asking.get(path))["server"] != gone.name
    if asking.proxy.process.name == "haproxy":  # until it knows, whom it tries next is not told by the hash
        await asking.proxy.process.says("Server sessions/one is DOWN")
    moved = await asking.homes()
    stayed = {session: home for session, home in homes.items() if home != gone.name}
    assert {session: moved[session] for session in stayed} == stayed
    assert gone.name not in moved.values()


async def test_haproxy_hands_nothing_new_to_a_server_that_is_not_ready_until_it_is_again(tmp_path: Path) -> None:
    async with asking_of("haproxy", tmp_path) as asking:
        draining = asking.echoes[1]
        draining.ready = False
        for backend in ("calls", "sessions"):
            await asking.proxy.process.says(f"Server {backend}/two is DOWN")
        assert draining.name not in [(await asking.get("/v1/models"))["server"] for _ in range(10)]
        assert draining.name not in (await asking.homes()).values()
        draining.ready = True
        for backend in ("calls", "sessions"):
            await asking.proxy.process.says(f"Server {backend}/two is UP")
        assert draining.name in (await asking.homes()).values()
