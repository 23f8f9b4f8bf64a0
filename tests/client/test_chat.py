"""Chat completions as the command line asks for them: chunks, errors within, ends that are none."""

import pytest

from inferpool.client.caller import ServerCaller
from inferpool.client.chat import ChatClient
from inferpool.client.transport import HttpRequest
from inferpool.core.errors import InferpoolError, ProtocolBroken, RateLimited
from tests.worker.memory import MemoryReply, MemoryTransport, pieces_of, whole

pytestmark = pytest.mark.anyio


class Server:
    """Answers one chat."""

    def __init__(self, reply: MemoryReply) -> None:
        self._reply = reply
        self.positions: list[str] = []
        self.asked: list[HttpRequest] = []

    async def _answer(self, request: HttpRequest) -> MemoryReply:
        self.asked.append(request)
        return self._reply

    async def chunks(self) -> list[str]:
        caller = ServerCaller(MemoryTransport(self._answer), ["http://server"])
        return [chunk async for chunk in ChatClient(caller).stream(b"{}", self.positions.append)]


def streamed(*pieces: bytes, **headers: str) -> MemoryReply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return MemoryReply(200, {"content-type": "text/event-stream", **named}, pieces_of(*pieces))


async def test_chunks_come_up_to_the_end_mark_without_comments() -> None:
    server = Server(streamed(b'data: {"a":1}\n\n: keep-alive\n', b'data: {"b":2}\n\ndata: [DONE]\n\n'))
    assert await server.chunks() == ['{"a":1}', '{"b":2}']
    assert server.positions == []
    assert server.asked[0].url == "http://server/v1/chat/completions"


async def test_the_place_in_line_is_told() -> None:
    server = Server(streamed(b"data: [DONE]\n\n", inferpool_queue_position="3"))
    await server.chunks()
    assert server.positions == ["3"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'data: {"error":{"message":"slow down","code":"rate_limited"}}\n\n', RateLimited),
        (b'data: {"error":{"message":"worker gone","code":"worker_lost"}}\n\n', InferpoolError),
        (b"data: rubbish\n\n", ProtocolBroken),
        (b'data: {"a":1}\n\n', ProtocolBroken),
    ],
    ids=["an error", "an error of a code without a class", "no JSON", "no end mark"],
)
async def test_a_stream_that_goes_wrong_raises(body: bytes, kind: type[InferpoolError]) -> None:
    with pytest.raises(kind):
        await Server(streamed(body)).chunks()


async def test_a_refusal_raises_what_the_server_tells() -> None:
    refusal = whole(404, b'{"error":{"message":"no such model","code":"model_not_found"}}')
    with pytest.raises(InferpoolError, match="no such model"):
        await Server(refusal).chunks()
