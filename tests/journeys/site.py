"""A whole set-up on loopback: engine, server, workers as processes, with what a journey asks of them."""

import asyncio
import json
import signal
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import aiohttp

from inferpool.compose import WallClock
from inferpool.store.invariants import check
from inferpool.store.sqlite_connection import connect_reader
from tests.journeys.ledger import Ledger
from tests.journeys.processes import PATIENCE_S, Program

ROOT: Final = Path(__file__).parents[2]
POOL: Final = "words"
"""The scripted engine's model, hence the pool."""
QUICK: Final = {
    "grace_s": "2",
    "poll_s": "0.1",
    "beat_s": "0.5",
    "ping_s": "0.5",
    "heartbeat_s": "0.5",
    "silence_s": "4",
}
"""Server settings that shorten every wait of a journey."""


def chat(text: str, **fields: object) -> bytes:
    """The body of a chat request with this directive for the engine."""
    return json.dumps({"model": POOL, "messages": [{"role": "user", "content": text}], **fields}).encode()


class Site:
    """The processes of one journey; their files lie in one folder."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession) -> None:
        self.folder = folder
        self.database = folder / "inferpool.db"
        self.http = http
        self.ledger = Ledger()
        self.engine: Program | None = None
        self.engine_url = ""
        self.server: Program | None = None
        self.server_url = ""
        self._port = 0
        self._programs: list[Program] = []

    async def _start(self, name: str, *arguments: str, settings: Mapping[str, str] = {}) -> Program:
        environment = {f"INFERPOOL_{key.upper()}": value for key, value in settings.items()}
        program = await Program.start(name, *arguments, environment=environment, folder=self.folder)
        self._programs.append(program)
        return program

    async def start_engine(self) -> Program:
        """The scripted engine: on a free port at first, on the same one ever after. It answers when this returns."""
        port = self.engine_url.rpartition(":")[2] or "0"
        arguments = ("-m", "tests.engines.scripted", "--port", port, "--model", POOL)
        environment = {"PYTHONPATH": str(ROOT)}
        return await self._answering(
            await Program.start("engine", *arguments, environment=environment, folder=self.folder)
        )

    async def start_real_engine(self, interpreter: Path) -> Program:
        """The engine of `examples/`, under an interpreter that has its packages. It answers when this returns."""
        script = str(ROOT / "examples" / "engine.py")
        return await self._answering(
            await Program.start(
                "engine", script, "--port", "0", environment={}, folder=self.folder, interpreter=str(interpreter)
            )
        )

    async def _answering(self, engine: Program) -> Program:
        self._programs.append(engine)
        line = await engine.says("engine ready at ")
        self.engine, self.engine_url = engine, line.rpartition(" ")[2].removesuffix("/v1")
        return engine

    async def start_server(self, **settings: str) -> Program:
        """The server: on a free port at first, on the same one ever after. It answers when this returns."""
        flags = ("serve", "--port", str(self._port), "--database-url", str(self.database))
        self.server = await self._start("server", "-m", "inferpool", *flags, settings=QUICK | settings)
        line = await self.server.says("server ready at ")
        self.server_url = line.rpartition(" ")[2]
        self._port = int(self.server_url.rpartition(":")[2])
        return self.server

    async def start_worker(
        self, name: str = "box", *, slots: int = 4, linked: bool = True, via: str = "", **settings: str
    ) -> Program:
        """A worker beside the scripted engine; it has its channel when this returns (unless `linked` is false).

        `via`: where it finds the server, if not at the server's own address.
        """
        flags = ("--server", via or self.server_url, "--engine", self.engine_url, "--name", name, "--slots", str(slots))
        own = {"state_folder": str(self.folder / "state"), **settings}
        program = await self._start(name, "-m", "inferpool", "worker", *flags, settings=own)
        if linked:
            await program.says("linked to the server")
        return program

    async def start(self, *, slots: int = 4, **settings: str) -> None:
        """Engine, server (with these settings), one worker."""
        await asyncio.gather(self.start_engine(), self.start_server(**settings))
        await self.start_worker(slots=slots)

    async def kill_server(self) -> None:
        """`kill -9` of the server."""
        assert self.server is not None
        await self.server.kill()

    async def conclude(self) -> None:
        """All is over: the ledger agrees with the store, the checker is content, whoever still runs leaves in order."""
        self.ledger.compare(self.database)
        await self.check_laws()
        running = [program for program in self._programs if program.code is None and program is not self.engine]
        for program in sorted(running, key=lambda program: program is self.server):  # workers leave their server first
            program.signal(signal.SIGTERM)
            assert await program.ended() == 0, program.lines[-5:]
        await self.check_laws()
        assert [path.name for path in self.folder.rglob("*.result")] == [], "answers left in an outbox"

    async def close(self) -> None:
        """End everything that still runs."""
        for program in reversed(self._programs):
            await program.kill()

    # ---- asking --------------------------------------------------------------------------------------------------

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, object]]:
        """Status with the JSON answer of a call to the server."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        async with self.http.request(method, self.server_url + path, json=body, headers=named) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if text else {}

    async def enqueue(self, text: str, *, key: str | None = None, **fields: object) -> str:
        """An async task with this directive for the engine; its id."""
        request = chat(text, **fields)
        self.ledger.unsure.append(request)
        headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
        path = self.server_url + "/api/v1/inference-tasks"
        async with self.http.post(path, data=b'{"request":' + request + b"}", headers=headers) as reply:
            row = await reply.json()
        self.ledger.unsure.remove(request)
        assert reply.status in ({202} if key is None else {200, 202}), row
        self.ledger.accept(str(row["id"]), request)
        return str(row["id"])

    async def call(self, text: str, *, persist: bool = False, **fields: object) -> tuple[int, bytes]:
        """A blocked call of the OpenAI API: the status with the body that came. `persist`: it survives its caller."""
        request = chat(text, **fields)
        self.ledger.unsure.append(request)
        headers = {"Content-Type": "application/json"} | ({"Inferpool-On-Disconnect": "continue"} if persist else {})
        async with self.http.post(self.server_url + "/v1/chat/completions", data=request, headers=headers) as reply:
            body = await reply.read()
        self.ledger.unsure.remove(request)
        if (task_id := reply.headers.get("Inferpool-Task-Id")) is not None:
            self.ledger.accept(task_id, request)
            if reply.status == 200 and not fields.get("stream"):
                self.ledger.answers[task_id] = body
        return reply.status, body

    async def ended(self, task_id: str) -> dict[str, object]:
        """The task's row once it has ended: a long poll, again and again."""
        async with asyncio.timeout(2 * PATIENCE_S):
            while True:
                status, row = await self.ask("GET", f"/api/v1/inference-tasks/{task_id}?wait=10")
                assert status == 200, row
                if row["status"] in {"completed", "error", "cancelled"}:
                    return row

    async def attempts(self, task_id: str) -> list[dict[str, object]]:
        """The task's history."""
        status, answer = await self.ask("GET", f"/api/v1/inference-tasks/{task_id}/attempts")
        assert status == 200, answer
        data = answer["data"]
        assert isinstance(data, list)
        return data

    async def engine_calls(self) -> list[dict[str, object]]:
        """What the engine was asked, as it saw it."""
        async with self.http.get(self.engine_url + "/_calls") as reply:
            calls = await reply.json()
            assert isinstance(calls, list)
            return calls

    async def engine_waits(self, state: str, count: int = 1) -> None:
        """Until the engine has had `count` calls in the state started, waiting, finished, or cancelled."""
        async with self.http.get(f"{self.engine_url}/_wait?state={state}&count={count}") as reply:
            assert reply.status == 200, await reply.text()

    async def open_gate(self, name: str) -> None:
        """Let every call of the engine pass that waits, or will wait, at this gate."""
        async with self.http.post(f"{self.engine_url}/_gate/{name}") as reply:
            assert reply.status == 204

    # ---- the store, read beside (or instead of) the server -------------------------------------------------------

    def rows(self, sql: str, *parameters: str | int) -> list[tuple[object, ...]]:
        """What a read-only look into the file gives."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def standing(self, task_id: str) -> tuple[object, ...]:
        """Status, attempt, tries of a row."""
        found = self.rows("SELECT status, attempt, tries FROM tasks WHERE id = ?", task_id)
        assert found, f"no row {task_id}"
        return found[0]

    async def check_laws(self) -> None:
        """The invariant checker finds nothing."""
        connection = connect_reader(self.database, WallClock())
        try:
            assert await check(connection) == []
        finally:
            connection.close()


@asynccontextmanager
async def opened_site(folder: Path) -> AsyncIterator[Site]:
    """A site without processes yet; whatever a journey starts is ended by its id."""
    async with aiohttp.ClientSession() as http:
        site = Site(folder, http)
        try:
            yield site
        finally:
            await site.close()
