"""Claims about a worker that knows several equal servers: whichever of them dies, it registers at another."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.journeys.processes import Program
from tests.store.builders import Value
from tests.store.side_desk import ask, new_database

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:9"
LINKED = "linked to the server"


class Yard:
    """Servers of one database with a worker that knows all of them."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = database
        self.programs: list[Program] = []

    async def start(self, name: str, *arguments: str, **settings: str) -> Program:
        """One more process."""
        named = {"log_format": "json", "state_folder": str(self.folder), **settings}
        environment = {f"INFERPOOL_{key.upper()}": value for key, value in named.items()}
        command = ("-m", "inferpool", name, *arguments)
        self.programs.append(await Program.start(name, *command, environment=environment, folder=self.folder))
        return self.programs[-1]

    async def server(self, port: str = "0") -> tuple[Program, str]:
        """One more server with its address, ready."""
        program = await self.start("serve", "--port", port, "--database-url", self.database)
        return program, (await program.says("server ready at ")).rpartition(" ")[2]

    async def worker(self, *urls: str) -> Program:
        """A worker that knows these servers, linked to one of them."""
        flags = [word for url in urls for word in ("--server", url)]
        worker = await self.start("worker", *flags, "--engine", NOWHERE, "--name", "box", grace_s="60")
        await worker.says(LINKED)
        return worker

    def sessions(self) -> list[tuple[Value, ...]]:
        """Each session with its epoch, the server that has its channel."""
        return ask(self.database, "SELECT id, epoch, server_id FROM sessions")

    def servers(self) -> set[Value]:
        """The ids of all servers that the database knows."""
        return {server_id for (server_id,) in ask(self.database, "SELECT id FROM servers")}


@asynccontextmanager
async def yard(folder: Path) -> AsyncIterator[Yard]:
    """An empty database; whatever is started is ended by its id."""
    made = Yard(folder, new_database("addresses"))
    try:
        yield made
    finally:
        for program in reversed(made.programs):
            await program.kill()


async def links_again(worker: Program, server: Program) -> dict[str, object]:
    """What the worker says of its next link, once its server was killed."""
    before = len(worker.lines)
    await server.kill()
    said: dict[str, object] = json.loads(await worker.says(LINKED, after=before))
    return said


async def test_a_worker_keeps_its_session_while_its_servers_die_in_turn(tmp_path: Path) -> None:
    async with yard(tmp_path) as place:
        first, first_url = await place.server()
        [first_id] = place.servers()
        second, second_url = await place.server()
        [second_id] = place.servers() - {first_id}
        worker = await place.worker(NOWHERE, first_url, second_url)
        [(session_id, epoch, server_id)] = place.sessions()
        assert server_id == first_id
        said = await links_again(worker, first)
        assert said["session_id"] == session_id
        assert place.sessions() == [(session_id, said["epoch"], second_id)] != [(session_id, epoch, second_id)]
        await place.server(first_url.rpartition(":")[2])
        [third_id] = place.servers() - {first_id, second_id}
        said = await links_again(worker, second)
        assert said["session_id"] == session_id
        assert place.sessions() == [(session_id, said["epoch"], third_id)]
