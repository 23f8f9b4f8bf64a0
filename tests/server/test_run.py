"""Claims about the running server: its ready line, its signals, real sockets."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from inferpool.core.access import Role
from inferpool.core.errors import Forbidden
from inferpool.host.ports import claimed, url_of
from inferpool.server.gate import ServerParts
from inferpool.server.options import ServerOptions
from inferpool.server.run import say, serve
from tests.server.rig import PATIENCE_S, Rig, chat_body, new_id, running
from tests.server.scripted_worker import SECRET
from tests.server.tokens import token

pytestmark = pytest.mark.anyio


class Running:
    """A server on a real port, with a client."""

    def __init__(self, rig: Rig, url: str, serving: asyncio.Task[None], http: aiohttp.ClientSession) -> None:
        self.rig = rig
        self.url = url
        self.serving = serving
        self.http = http

    async def status(self, path: str) -> int:
        async with self.http.get(self.url + path) as reply:
            await reply.read()
            return reply.status

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        os.kill(os.getpid(), number)

    async def ended(self) -> None:
        await asyncio.wait_for(self.serving, PATIENCE_S)


@asynccontextmanager
async def served(folder: Path, options: ServerOptions) -> AsyncIterator[Running]:
    """A server whose ready line has come; ended with the test."""
    async with running(folder, ready=False) as rig:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[str] = loop.create_future()
        serving = asyncio.create_task(serve(rig.dispatch, options, ServerParts(new_id, rig.log), ready.set_result))
        await asyncio.wait((ready, serving), return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
        line = ready.result()
        assert line.startswith("inferpool server ready at http://")
        async with aiohttp.ClientSession() as http:
            made = Running(rig, line.rsplit(" ", 1)[1], serving, http)
            yield made
        if not serving.done():
            made.signal()
        await made.ended()


def free(**changes: float) -> ServerOptions:
    return ServerOptions(port=0, farewell_s=1, drain_s=changes.get("drain_s", PATIENCE_S))


async def test_the_ready_line_names_the_bound_port_where_readyz_is_200(tmp_path: Path) -> None:
    async with served(tmp_path, free()) as server:
        assert not server.url.endswith(":0")
        assert await server.status("/readyz") == 200


async def test_responses_carry_no_more_headers_than_they_need(tmp_path: Path) -> None:
    async with served(tmp_path, free()) as server, server.http.get(server.url + "/healthz") as reply:
        assert {name.lower() for name in reply.headers} == {"content-type", "content-length", "x-request-id"}


async def test_a_stream_over_a_real_socket_comes_chunk_by_chunk(tmp_path: Path) -> None:
    async with served(tmp_path, free()) as server:
        session = await registered(server)
        channel = await server.http.get(f"{server.url}{session.path}/channel", headers=session.headers)
        call = asyncio.create_task(server.http.post(server.url + "/v1/chat/completions", json=chat_body(stream=True)))
        while b"task_id" not in (frame := await channel.content.readuntil(b"\n\n")):
            pass
        task_id = frame.split(b'"task_id":"')[1].split(b'"')[0].decode()
        of = {"task_id": task_id, "attempt": 1}
        started = {"type": "started", **of, "status": 200, "content_type": "text/event-stream"}
        await session.say(started, {"type": "chunk", **of, "seq": 1, "data": "a"})
        async with await call as reply:
            assert (reply.status, reply.headers["transfer-encoding"]) == (200, "chunked")
            assert await reply.content.readuntil(b"\n\n") == b"data: a\n\n"
            await session.say({"type": "result", **of, "last_seq": 1, "status": 200, "content_type": "x", "body": ""})
            assert await reply.content.read() == b"data: [DONE]\n\n"
        channel.close()


class SpokenFor:
    """A registered session over a real socket."""

    def __init__(self, server: Running, session_id: str) -> None:
        self._server = server
        self.path = f"/api/v1/sessions/{session_id}"
        self.headers = {"inferpool-session-secret": SECRET, "inferpool-session-epoch": "1"}

    async def say(self, *events: dict[str, object]) -> int:
        url = f"{self._server.url}{self.path}/events"
        async with self._server.http.post(url, json={"events": events}, headers=self.headers) as reply:
            assert await reply.json() == {"refused": []}
            return reply.status


async def registered(server: Running) -> SpokenFor:
    session_id = new_id()
    llm = {"name": "m", "model": "m", "engine": "e", "slots": 4}
    body = {"session_id": session_id, "epoch": 1, "worker": {"name": "box"}, "llms": [llm]}
    headers = {"inferpool-session-secret": SECRET}
    async with server.http.post(server.url + "/api/v1/sessions", json=body, headers=headers) as reply:
        assert reply.status == 200
    return SpokenFor(server, session_id)


async def test_sigterm_lets_accepted_calls_end_while_session_routes_stay_open(tmp_path: Path) -> None:
    async with served(tmp_path, free()) as server:
        session = await registered(server)
        channel = await server.http.get(f"{server.url}{session.path}/channel", headers=session.headers)
        call = asyncio.create_task(server.http.post(server.url + "/v1/chat/completions", json=chat_body()))
        while b"task_id" not in (frame := await channel.content.readuntil(b"\n\n")):
            pass
        server.signal()
        while await server.status("/readyz") != 503:
            pass
        task_id = frame.split(b'"task_id":"')[1].split(b'"')[0].decode()
        await session.say(
            {"type": "result", "task_id": task_id, "attempt": 1, "status": 200, "content_type": "x", "body": "y"}
        )
        async with await call as reply:
            assert (reply.status, await reply.text()) == (200, "y")
        assert await channel.content.read() == b""
        await server.ended()


async def test_a_second_signal_ends_the_wait_at_once(tmp_path: Path) -> None:
    async with served(tmp_path, free()) as server:
        await registered(server)
        call = asyncio.create_task(server.http.post(server.url + "/v1/chat/completions", json=chat_body()))
        while not server.rig.dispatch.feed.callers.blocked:
            await server.status("/healthz")
        server.signal()
        while await server.status("/readyz") != 503:
            pass
        server.signal(signal.SIGINT)
        await server.ended()
        call.cancel()


class Knock:
    """Opens by asking the server's own port first."""

    def __init__(self, place: tuple[str, int]) -> None:
        self._place = place

    async def __call__(self) -> None:
        await asyncio.open_connection(*self._place)


async def test_who_shares_a_port_lets_nobody_in_before_calls_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, ready=False) as rig:
        with claimed("127.0.0.1", 0) as claim:
            monkeypatch.setattr(rig.dispatch, "open", Knock(claim.getsockname()))
            options = ServerOptions(port=claim.getsockname()[1], shared=True)
            with pytest.raises(OSError, match="Connect call failed"):
                await serve(rig.dispatch, options, ServerParts(new_id, rig.log))


async def test_who_shares_a_port_answers_there(tmp_path: Path) -> None:
    with claimed("0.0.0.0", 0) as claim:
        options = ServerOptions(host="0.0.0.0", port=claim.getsockname()[1], shared=True, insecure=True, farewell_s=1)
        async with served(tmp_path, options) as server:
            assert server.url == url_of(claim)
            assert await server.status("/readyz") == 200
            assert not any("on every address" in str(entry) for entry in server.rig.log.entries)


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    async with served(tmp_path, free()) as server:
        taken = ServerOptions(port=int(server.url.rsplit(":", 1)[1]))
        with pytest.raises(OSError, match="in use"):
            await serve(server.rig.dispatch, taken, ServerParts(new_id, server.rig.log))


async def test_an_address_that_others_reach_is_refused(rig: Rig) -> None:
    with pytest.raises(Forbidden, match="only on this machine"):
        await serve(rig.dispatch, ServerOptions(host="0.0.0.0"), ServerParts(new_id, rig.log))


async def test_with_a_token_a_server_may_listen_to_others(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await token(rig, Role.ADMIN)
    async with served(tmp_path, ServerOptions(host="0.0.0.0", port=0, farewell_s=1)) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert any("on every address" in str(entry) for entry in server.rig.log.entries)
        assert await server.status("/readyz") == 200
        assert await server.status("/v1/models") == 401


async def test_insecure_lets_a_server_listen_to_others_without_one(tmp_path: Path) -> None:
    async with served(tmp_path, ServerOptions(host="0.0.0.0", port=0, farewell_s=1, insecure=True)) as server:
        assert await server.status("/v1/models") == 200


async def test_the_other_loopback_is_written_in_brackets(tmp_path: Path) -> None:
    async with served(tmp_path, ServerOptions(host="::1", port=0, farewell_s=1)) as server:
        assert server.url.startswith("http://[::1]:")
        assert await server.status("/readyz") == 200


async def test_a_line_goes_out_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    say("ready")
    assert capsys.readouterr().out == "ready\n"
