"""The real application over a real store in this process, spoken to as an HTTP server would speak to it."""

import asyncio
import random
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

import msgspec
import uuid_utils

from inferpool.core.ids import ServerId
from inferpool.core.task import TaskFilter
from inferpool.dispatch.options import DispatchOptions
from inferpool.dispatch.service import Dispatch, Parts
from inferpool.server.app import build_app
from inferpool.server.asgi import Asgi
from inferpool.server.gate import ServerParts
from inferpool.server.options import ServerOptions
from tests.store.stores import SettableClock, opened_sqlite

HOST = {"host": "127.0.0.1:8010"}
JSON = {**HOST, "content-type": "application/json"}
PATIENCE_S = 20.0
"""How long a test waits for what must come; a test that waits so long has failed."""


def new_id() -> str:
    return str(uuid_utils.uuid7())


class Heard:
    """A log that remembers."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, str | float | bool | None]]] = []

    def info(self, event: str, **fields: str | float | bool | None) -> None:
        self.entries.append((event, fields))

    def warning(self, event: str, **fields: str | float | bool | None) -> None:
        self.entries.append((event, fields))

    def error(self, event: str, **fields: str | float | bool | None) -> None:
        self.entries.append((event, fields))


class Answer(msgspec.Struct):
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        told: dict[str, object] = msgspec.json.decode(self.body)
        return told

    @property
    def error(self) -> dict[str, object]:
        """What stands under `error`, whose four keys are always there."""
        error = self.json["error"]
        assert isinstance(error, dict)
        assert {"message", "type", "param", "code"} <= set(error)
        return error


class Exchange:
    """One request under way: the test is its client."""

    def __init__(self, app: Asgi, scope: MutableMapping[str, object], parts: list[bytes]) -> None:
        self._parts = list(parts)
        self._gone = asyncio.Event()
        self._out: asyncio.Queue[MutableMapping[str, object] | None] = asyncio.Queue()
        self._complete = asyncio.Event()
        self.slow: asyncio.Event | None = None
        """While it is there but not set, the client reads nothing: writes wait."""
        self.writes = 0
        self._task = asyncio.create_task(self._run(app, scope))

    async def _run(self, app: Asgi, scope: MutableMapping[str, object]) -> None:
        try:
            await app(scope, self._receive, self._send)
        finally:
            self._out.put_nowait(None)

    async def _receive(self) -> MutableMapping[str, object]:
        if self._parts:
            part = self._parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self._parts)}
        waits = [asyncio.ensure_future(self._gone.wait()), asyncio.ensure_future(self._complete.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, object]) -> None:
        self.writes += 1
        if self.slow is not None:
            await self.slow.wait()
        if self._gone.is_set():
            return
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._complete.set()
        self._out.put_nowait(message)

    async def _next(self) -> MutableMapping[str, object] | None:
        return await asyncio.wait_for(self._out.get(), PATIENCE_S)

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status with the headers."""
        message = await self._next()
        assert message is not None, "the application answered nothing"
        assert message["type"] == "http.response.start"
        headers, status = message["headers"], message["status"]
        assert isinstance(headers, list)
        assert isinstance(status, int)
        told = {name.decode(): value.decode() for name, value in headers}
        assert len(told) == len(headers), f"a header stands twice in {headers}"
        return status, told

    async def part(self) -> bytes:
        """The next part of the body; empty at its end."""
        message = await self._next()
        if message is None:
            return b""
        body = message["body"]
        assert isinstance(body, bytes)
        return body or await self.part()

    async def rest(self) -> bytes:
        """All that is still to come."""
        parts = []
        while part := await self.part():
            parts.append(part)
        return b"".join(parts)

    async def whole(self) -> Answer:
        status, headers = await self.head()
        answer = Answer(status, headers, await self.rest())
        await self.over()
        return answer

    def leave(self) -> None:
        """Close the connection."""
        self._gone.set()

    async def over(self) -> None:
        """Wait until the application is through with it."""
        await asyncio.wait_for(self._task, PATIENCE_S)


class Rig:
    """The application with its dispatch; `worker` and `call` are the two sides."""

    def __init__(self, app: Asgi, dispatch: Dispatch, clock: SettableClock, log: Heard) -> None:
        self.app = app
        self.dispatch = dispatch
        self.clock = clock
        self.log = log

    def open(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | list[bytes] = b""
    ) -> Exchange:
        """Begin a request. A list is a body in parts, without a told length."""
        raw, _, query = path.partition("?")
        given = dict(HOST if headers is None else headers)
        parts = body if isinstance(body, list) else [body]
        if isinstance(body, list):
            given.setdefault("transfer-encoding", "chunked")
        elif body or method == "POST":
            given.setdefault("content-length", str(len(body)))
        scope: MutableMapping[str, object] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "root_path": "",
            "path": unquote(raw),
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in given.items()],
        }
        return Exchange(self.app, scope, parts)

    async def call(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | list[bytes] = b""
    ) -> Answer:
        """One whole exchange."""
        return await self.open(method, path, headers, body).whole()

    async def post(self, path: str, body: object, **headers: str) -> Answer:
        """A whole exchange with a JSON body; `inferpool_queue="live"` is the header `Inferpool-Queue`."""
        return await self.start(path, body, **headers).whole()

    def start(self, path: str, body: object, **headers: str) -> Exchange:
        """Begin to post a JSON body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.open("POST", path, {**JSON, **named}, msgspec.json.encode(body))

    def chat(self, model: str = "m", **fields: object) -> Exchange:
        """Begin a chat completion."""
        return self.start("/v1/chat/completions", chat_body(model, **fields))

    async def rows(self) -> int:
        """How many tasks there are."""
        return len(await self.dispatch.reader.tasks(TaskFilter(), None, 1000))


def chat_body(model: str = "m", **fields: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}


@asynccontextmanager
async def running(
    folder: Path, server: ServerOptions | None = None, dispatch: DispatchOptions | None = None, *, ready: bool = True
) -> AsyncIterator[Rig]:
    """A server over an empty store, ready unless told otherwise."""
    clock, log = SettableClock(), Heard()
    async with opened_sqlite(folder / "store.db", clock) as pair:
        parts = Parts(clock=clock, new_id=new_id, new_secret=new_id, jitter=random.Random(7), log=log)
        served = Dispatch(pair.store, pair.reader, dispatch or DispatchOptions(), parts, ServerId(new_id()))
        app = build_app(served, server or ServerOptions(), ServerParts(new_id, log))
        if ready:
            await served.open()
        try:
            yield Rig(app, served, clock, log)
        finally:
            await served.close()
