"""Claims about `inferpool serve --processes`: several servers share a port, whoever of them dies."""

import asyncio
import json
import os
import select
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.journeys.processes import PATIENCE_S, Program
from tests.store.side_desk import ask, new_database

pytestmark = pytest.mark.anyio

READY = "a server process is ready"
SESSION = {
    "session_id": "01900000-0000-7000-8000-000000000001",
    "epoch": 1,
    "worker": {"name": "box"},
    "llms": [{"name": "m", "model": "m", "engine": "e", "slots": 4}],
}
SECRET = "a secret of a worker that only this test plays"
CALL = {"model": "m", "messages": [{"role": "user", "content": "wait"}]}


class Crowd:
    """A parent with its children."""

    def __init__(self, program: Program, url: str, database: str) -> None:
        self.program = program
        self.url = url
        self.database = database

    @property
    def pids(self) -> list[int]:
        """The children's, in the order in which they were ready."""
        return [int(json.loads(line)["pid"]) for line in self.program.lines if READY in line]

    @property
    def port(self) -> int:
        """The one that they share."""
        return int(self.url.rpartition(":")[2])

    async def asked(self) -> tuple[int, int]:
        """What `/readyz` answers on a new connection, the process that took it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            status = await asyncio.wait_for(reader.readline(), PATIENCE_S)
            return int(status.split()[1]), self.holder(writer.get_extra_info("sockname")[1])
        finally:
            writer.close()

    def holder(self, caller: int) -> int:
        """Whose the server's end of the connection from this port is: proc(5) tells."""
        pair = f":{self.port:04X}", f":{caller:04X}"
        ends = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        [inode] = {end[9] for end in ends if (end[1][-5:], end[2][-5:]) == pair}  # a long table may show a row twice
        [pid] = [pid for pid in self.pids if f"socket:[{inode}]" in handles(pid)]
        return pid

    async def answer(self, *pids: int) -> None:
        """Until new connections have reached each of these, none but these."""
        seen: set[int] = set()
        async with asyncio.timeout(PATIENCE_S):
            while seen != set(pids):
                status, pid = await self.asked()
                assert (status, pid in pids) == (200, True)
                seen.add(pid)


def handles(pid: int) -> set[str]:
    """What a process holds open; nothing where it is gone."""
    try:
        return {os.readlink(handle) for handle in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()


@asynccontextmanager
async def crowd(folder: Path, count: int, **settings: str) -> AsyncIterator[Crowd]:
    """So many servers on a database of their own, all of them ready."""
    database = new_database(f"processes_{count}_{len(settings)}")
    flags = ("--processes", str(count), "--port", "0", "--database-url", database)
    environment = {f"INFERPOOL_{name.upper()}": value for name, value in {"log_format": "json", **settings}.items()}
    program = await Program.start("parent", "-m", "inferpool", "serve", *flags, environment=environment, folder=folder)
    try:
        line = await program.says("server ready at ")
        yield Crowd(program, line.rpartition(" ")[2], database)
    finally:
        await program.kill()


async def gone(pid: int) -> None:
    """Until a process that is no child of this one has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = await asyncio.to_thread(select.select, [handle], [], [], PATIENCE_S)
        assert ended, f"{pid} still runs"
    finally:
        os.close(handle)


async def test_all_of_them_answer_on_one_port_one_that_dies_is_replaced_all_end_politely(tmp_path: Path) -> None:
    async with crowd(tmp_path, 3) as servers:
        first = servers.pids
        assert len(first) == 3
        await servers.answer(*first)
        before = len(servers.program.lines)
        os.kill(first[1], signal.SIGKILL)
        await servers.program.says("ended by itself", after=before)
        await servers.program.says(READY, after=before)
        assert len(servers.pids) == 4
        await servers.answer(first[0], first[2], servers.pids[3])
        servers.program.signal(signal.SIGTERM)
        assert await servers.program.ended() == 0, servers.program.lines[-5:]
        for pid in servers.pids:
            await gone(pid)
        assert [line for line in servers.program.lines if "server ready at" in line] == [
            f"inferpool server ready at {servers.url}"
        ]


async def test_none_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    async with crowd(tmp_path, 2) as servers:
        pids = servers.pids
        await servers.program.kill()
        for pid in pids:
            await gone(pid)


async def test_a_first_signal_lets_calls_end_a_second_waits_for_nobody(tmp_path: Path) -> None:
    async with crowd(tmp_path, 2, drain_s="600") as servers:
        reader, writer = await asyncio.open_connection("127.0.0.1", servers.port)
        writer.write(post("/api/v1/sessions", SESSION))
        assert (await asyncio.wait_for(reader.readline(), PATIENCE_S)).split()[1] == b"200"
        [idle] = set(servers.pids) - {servers.holder(writer.get_extra_info("sockname")[1])}
        writer.write(post("/v1/chat/completions", CALL))
        while await asyncio.to_thread(ask, servers.database, "SELECT count(*) FROM tasks") == [(0,)]:
            assert not reader.at_eof()
        [busy] = set(servers.pids) - {idle}
        os.kill(busy, signal.SIGTERM)  # as a supervisor would, that signals every process of a service
        servers.program.signal(signal.SIGINT)
        await gone(idle)
        await servers.program.says('"waiting": 1, "event": "draining"')
        servers.program.signal(signal.SIGINT)
        assert await servers.program.ended() == 0, servers.program.lines[-5:]
        writer.close()


def post(path: str, body: object) -> bytes:
    """A request for a connection of its own, so that one process takes all that follow on it."""
    told = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nInferpool-Session-Secret: {SECRET}"
    return f"{head}\r\nContent-Length: {len(told)}\r\n\r\n{told}".encode()
