"""Addresses in turn, errors as they were told."""

import pytest

from inferpool.client.caller import ServerCaller
from inferpool.client.transport import HttpRequest, TransportError
from inferpool.core.errors import NotFound, Unavailable
from inferpool.wire.problems import problem_of
from tests.worker.memory import MemoryReply, MemoryTransport, whole

pytestmark = pytest.mark.anyio


class Farm:
    """Servers by address: each answers a status, or nothing."""

    def __init__(self, **statuses: int | None) -> None:
        self.statuses = statuses
        self.asked: list[HttpRequest] = []
        self.transport = MemoryTransport(self._handle)

    async def _handle(self, request: HttpRequest) -> MemoryReply:
        self.asked.append(request)
        name = request.url.split("/")[2]
        status = self.statuses[name]
        if status is None:
            raise TransportError(f"{name} refused")
        body = problem_of(NotFound("no such thing")).body if status == 404 else b"hello from " + name.encode()
        return whole(status, body)

    def caller(self, token: str | None = None) -> ServerCaller:
        return ServerCaller(self.transport, [f"http://{name}/" for name in self.statuses], token)


async def test_a_server_that_does_not_answer_is_left_for_the_next() -> None:
    caller = Farm(a=None, b=200).caller()
    with pytest.raises(TransportError):
        await caller.call(caller.request("GET", "/x", {}))
    assert caller.url == "http://b"
    assert await caller.call(caller.request("GET", "/x", {})) == b"hello from b"


async def test_a_server_in_trouble_is_left_for_the_next_and_the_last_leads_to_the_first() -> None:
    caller = Farm(a=503, b=502).caller()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await caller.call(caller.request("GET", "/x", {}))
    assert caller.url == "http://a"


async def test_a_late_failure_does_not_leave_the_address_that_another_call_chose() -> None:
    farm = Farm(a=None, b=200, c=200)
    caller = farm.caller()
    first, second = caller.request("GET", "/1", {}), caller.request("GET", "/2", {})
    for request in (first, second):
        with pytest.raises(TransportError):
            await caller.call(request)
    assert caller.url == "http://b"


async def test_a_refusal_is_raised_and_the_address_kept() -> None:
    caller = Farm(a=404, b=200).caller()
    with pytest.raises(NotFound, match="no such thing"):
        await caller.call(caller.request("GET", "/x", {}))
    assert caller.url == "http://a"


async def test_a_token_goes_along() -> None:
    farm = Farm(a=200)
    caller = farm.caller("ip_secret")
    await caller.call(caller.request("GET", "/x", {"accept": "a/b"}))
    assert farm.asked[0].headers == {"authorization": "Bearer ip_secret", "accept": "a/b"}


def test_a_server_needs_an_address() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ServerCaller(Farm().transport, [])
