"""A whole set-up on loopback, with what a journey asks of it."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp

from inferpool.compose import WallClock
from inferpool.store.invariants import check
from inferpool.store.sqlite_connection import connect_reader
from tests.journeys.fleet import POOL, Fleet
from tests.journeys.ledger import Ledger, Row, read_rows
from tests.journeys.processes import PATIENCE_S


def chat(text: str, **fields: object) -> bytes:
    """The body of a chat request with this directive for the engine."""
    return json.dumps({"model": POOL, "messages": [{"role": "user", "content": text}], **fields}).encode()


class Site(Fleet):
    """Engine, server, workers, with the journey's ledger."""

    tries_of_a_restart: frozenset[int] = frozenset({0})
    """What a frame may cost that a killed server had not handed over."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession) -> None:
        super().__init__(folder)
        self.http = http
        self.ledger = Ledger()
        self.token = ""
        """What a caller shows the server, once there are tokens."""

    async def conclude(self) -> None:
        """All is over: the ledger agrees with the store, the checker is content, whoever still runs leaves in order."""
        self.ledger.compare(self.read_rows())
        await self.check_laws()
        await self.leave()
        await self.check_laws()
        assert [path.name for path in self.folder.rglob("*.result")] == [], "answers left in an outbox"

    def credentials(self) -> dict[str, str]:
        """The header that shows the token, once there is one."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    # ---- asking --------------------------------------------------------------------------------------------------

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, object]]:
        """Status with the JSON answer of a call to the server."""
        named = self.credentials() | {key.replace("_", "-"): value for key, value in headers.items()}
        async with self.http.request(method, self.server_url + path, json=body, headers=named) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if text else {}

    async def enqueue(self, text: str, *, key: str | None = None, **fields: object) -> str:
        """An async task with this directive for the engine; its id."""
        request = chat(text, **fields)
        self.ledger.unsure.append(request)
        headers = self.credentials() | {"Content-Type": "application/json"}
        headers |= {} if key is None else {"Idempotency-Key": key}
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
        headers = self.credentials() | {"Content-Type": "application/json"}
        headers |= {"Inferpool-On-Disconnect": "continue"} if persist else {}
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

    async def forget_engine_calls(self) -> None:
        """The engine begins anew: no calls, every gate closed."""
        async with self.http.delete(self.engine_url + "/_calls") as reply:
            assert reply.status == 200

    async def open_gate(self, name: str) -> None:
        """Let every call of the engine pass that waits, or will wait, at this gate."""
        async with self.http.post(f"{self.engine_url}/_gate/{name}") as reply:
            assert reply.status == 204

    # ---- the store, read beside (or instead of) the server -------------------------------------------------------

    def rows(self, sql: str, *parameters: str | int) -> list[tuple[object, ...]]:
        """What a read-only look into the file gives."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def read_rows(self) -> dict[str, Row]:
        """Every task with its stream."""
        return read_rows(self.database)

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
