"""The session routes as a client sees them."""

import pytest

from inferpool.client.caller import ServerCaller
from inferpool.client.server import ServerClient, SessionKey
from inferpool.client.transport import HttpRequest, TransportError
from inferpool.core.errors import ProtocolBroken, SessionReplaced
from inferpool.wire.sessions import (
    EPOCH_HEADER,
    SECRET_HEADER,
    CancelRun,
    Frame,
    Ping,
    RegisterRequest,
    WorkerInfo,
    encode_frame,
)
from tests.worker.memory import MemoryReply, MemoryTransport, pieces_of, stream, whole
from tests.worker.server_peer import Always, ServerPeer

pytestmark = pytest.mark.anyio

KEY = SessionKey(session_id="s1", secret="hush", epoch=3)


def client(transport: MemoryTransport) -> ServerClient:
    return ServerClient(ServerCaller(transport, ["http://server"]))


class Desk:
    """Gives everybody the same answer; remembers what was asked."""

    def __init__(self, reply: MemoryReply | None = None) -> None:
        self.asked: list[HttpRequest] = []
        self._reply = reply

    async def __call__(self, request: HttpRequest) -> MemoryReply:
        self.asked.append(request)
        return self._reply or whole(200, b"{}")


def fixed(reply: MemoryReply) -> MemoryTransport:
    return MemoryTransport(Desk(reply))


async def test_every_session_route_carries_secret_and_epoch() -> None:
    desk = Desk()
    speaker = client(MemoryTransport(desk))
    await speaker.events(KEY, b'{"events":[]}')
    await speaker.request_body(KEY, "/api/v1/sessions/s1/requests/t1")
    await speaker.leave(KEY)
    async with speaker.channel(KEY):
        pass
    asked = [(request.method, request.url.removeprefix("http://server/api/v1/sessions/s1")) for request in desk.asked]
    assert asked == [("POST", "/events"), ("GET", "/requests/t1"), ("DELETE", ""), ("GET", "/channel")]
    assert {(request.headers[SECRET_HEADER], request.headers[EPOCH_HEADER]) for request in desk.asked} == {
        ("hush", "3")
    }


async def test_registering_shows_the_secret_and_reads_the_reply() -> None:
    peer = ServerPeer()
    request = RegisterRequest(session_id="s1", epoch=4, worker=WorkerInfo(name="box"))
    reply = await client(peer.transport).register(request, "hush")
    assert (reply.session_id, reply.epoch, peer.secrets) == ("s1", 4, ["hush"])


async def listen(speaker: ServerClient, heard: list[Frame]) -> None:
    async with speaker.channel(KEY) as frames:
        async for frame in frames:
            heard.append(frame)  # noqa: PERF401 - a comprehension would lose what came before the end


async def test_frames_arrive_in_order_and_unknown_ones_are_passed_over() -> None:
    sent = encode_frame(Ping()) + b"event: from-the-future\ndata: {}\n\n: comment\n\n"
    sent += encode_frame(CancelRun(task_id="t1", attempt=2))
    heard: list[Frame] = []
    with pytest.raises(TransportError, match="closed the channel"):
        await listen(client(fixed(stream(pieces_of(sent[:20], sent[20:])))), heard)
    assert heard == [Ping(), CancelRun(task_id="t1", attempt=2)]


async def test_a_malformed_answer_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolBroken, match="malformed"):
        await client(fixed(whole(200, b"no json"))).events(KEY, b"")


async def test_a_refused_uplink_tells_the_stored_epoch() -> None:
    peer = ServerPeer()
    peer.on_events = Always(SessionReplaced("newer", epoch=8))
    with pytest.raises(SessionReplaced) as refused:
        await client(peer.transport).events(KEY, b'{"events":[]}')
    assert refused.value.epoch == 8
