"""The callers of a run: each asks one thing in its own way, holds the server to its word, gives up never."""

import asyncio
import json
from random import Random

import msgspec

from inferpool.client.transport import HttpRequest, TransportError
from tests.simulation.engine import MODEL
from tests.simulation.laws import Laws
from tests.simulation.network import MemoryTransport
from tests.simulation.nodes import SERVER
from tests.simulation.trace import Trace
from tests.simulation.views import EventReader, Memory, NativeView, OpenAiView

TASKS = "/api/v1/inference-tasks"
FINAL = frozenset({200, 400, 429, 499, 500, 502, 503, 504})
"""Statuses that a call may end in; a bare 404, 409 or 500 of the server's own never."""


class Got(msgspec.Struct, frozen=True):
    """An answer that arrived whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def task_id(self) -> str | None:
        return self.headers.get("inferpool-task-id")

    @property
    def code(self) -> str | None:
        """The code of an error."""
        error = json.loads(self.body).get("error") if self.status >= 400 else None
        return error.get("code") if error else None


class Callers(msgspec.Struct, frozen=True):
    """What all callers of a run share."""

    transport: MemoryTransport
    laws: Laws
    memory: Memory
    trace: Trace
    accepted: dict[str, str]
    """Tasks that the server said it has, with their tags: none of them may vanish."""

    def breach(self, what: str) -> None:
        """Something that must never be seen was seen."""
        self.trace.note("LAW", what)
        self.laws.broken.append(what)


class Caller:
    """One caller."""

    def __init__(self, shared: Callers, number: int, chance: Random) -> None:
        self.shared = shared
        self.chance = chance
        self.name = f"call-{number}"
        self.tag = f"c{number}" if chance.random() > 0.04 else "bad"
        self.key = f"key-{number}"
        self.replayed = False
        """A late replay may give the task another life at any time."""

    # ---- asking --------------------------------------------------------------------------------------------------

    def body(self, *, stream: bool) -> dict[str, object]:
        """What is asked of the engine."""
        model = self.chance.choice((MODEL, MODEL, MODEL, f"{MODEL}@w1"))
        filler = "x" * (300_000 if self.chance.random() < 0.02 else self.chance.choice((10, 100, 3000)))
        asked: dict[str, object] = {"model": model, "tag": self.tag, "messages": [{"role": "user", "content": filler}]}
        if stream:
            asked["stream"] = True
        return asked

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, timeout_s: float = 15.0
    ) -> HttpRequest:
        """A request of this caller; `timeout_s` bounds each of its waits."""
        kind = {"content-type": "application/json"} if body else {}
        return HttpRequest(
            method=method,
            url=f"http://{SERVER}{path}",
            headers={**kind, **(headers or {})},
            body=body,
            timeout_s=timeout_s,
            silence_s=timeout_s,
        )

    async def ask(self, request: HttpRequest) -> Got:
        """One request; raises `TransportError`."""
        async with self.shared.transport.open(request) as reply:
            got = Got(reply.status, dict(reply.headers), await reply.read())
        self.note(f"{request.method} {request.url.partition(SERVER)[2]} -> {got.status} {got.code or ''}")
        if got.code == "internal":
            self.shared.breach(f"{self.name}: {request.url} answered {got.body!r}")
        return got

    async def insist(self, request: HttpRequest) -> Got:
        """Ask until an answer comes that is not a passing one."""
        while True:
            try:
                got = await self.ask(request)
            except TransportError as error:
                self.note(str(error))
            else:
                if got.status != 503 or got.task_id is not None:
                    return got
            await self.pause(1.5)

    async def pause(self, longest_s: float) -> None:
        await asyncio.sleep(self.chance.uniform(0.05, longest_s))

    def note(self, what: str) -> None:
        named = what
        for word in what.replace("/", " ").replace("?", " ").split():
            if len(word) == 36:
                named = named.replace(word, self.shared.laws.name(word))
        self.shared.trace.note(self.name, named)

    # ---- judging -------------------------------------------------------------------------------------------------

    def take(self, task_id: str) -> None:
        """The server said that it has this task: it must be in the store, from now on."""
        self.shared.laws.call(task_id, f"{self.name}'s")
        self.shared.accepted[task_id] = self.tag
        if self.shared.laws.row(task_id) is None:
            self.shared.breach(f"{self.name} was told of {task_id}, which is not in the store")

    def judge(self, got: Got) -> None:
        """The answer of a blocked call."""
        if got.task_id is not None:
            self.take(got.task_id)
        if got.status not in FINAL:
            self.shared.breach(f"{self.name} was answered {got.status} {got.body!r}")
        if got.status == 200:
            self.shared.memory.check_whole(self.name, self.tag, got.body)
            self.ended(got.task_id, "completed")

    def ended(self, task_id: str | None, status: str) -> None:
        """The server said that the task ended so: the row must say it already."""
        row = self.shared.laws.row(task_id or "")
        if row is None or (row.status != status and not self.replayed):
            self.shared.breach(f"{self.name} was told {status} by a row that says {row}")

    # ---- following -----------------------------------------------------------------------------------------------

    async def follow(self, task_id: str, leaves: int = 0) -> NativeView:
        """Watch the native stream to its end, through every break; `leaves`: how often to break it oneself."""
        view = NativeView((self.name, self.tag), task_id, self.shared.memory, self.shared.breach)
        while view.end is None:
            try:
                await self._watch_once(task_id, view, leave=leaves > 0)
            except TransportError as error:
                self.note(f"the stream broke: {error}")
            leaves -= 1
            if view.end is None:
                await self.pause(1.0)
        self.ended(task_id, view.end)
        return view

    async def _watch_once(self, task_id: str, view: NativeView, *, leave: bool) -> None:
        headers = {"accept": "text/event-stream"}
        if view.last_id is not None:
            headers["last-event-id"] = view.last_id
        reader = EventReader()
        stays = self.chance.randint(0, 4)
        async with self.shared.transport.open(
            self.request("GET", f"{TASKS}/{task_id}/stream", headers=headers, timeout_s=10.0)
        ) as reply:
            if reply.status != 200:
                if reply.status != 503:
                    self.shared.breach(f"{self.name}: its stream was answered {reply.status} {await reply.read()!r}")
                return
            async for part in reply.parts():
                for event in reader.feed(part):
                    view.see(event)
                    self.note(f"saw {event.name} {event.id}")
                    stays -= 1
                if (leave and stays < 0) or view.end is not None:
                    return

    async def poll(self, task_id: str) -> None:
        """Ask for the row until it has ended."""
        while True:
            wait = self.chance.choice(("", "?wait=3", "?wait=8"))
            got = await self.insist(self.request("GET", f"{TASKS}/{task_id}{wait}"))
            row = json.loads(got.body)
            if got.status != 200:
                self.shared.breach(f"{self.name}: {task_id} was answered {got.status} {got.body!r}")
                return
            if row["status"] in {"completed", "error", "cancelled"}:
                self.ended(task_id, row["status"])
                return
            await self.pause(2.0)

    async def enqueue(self, *, stream: bool) -> str:
        """Make an asynchronous task, once, however often it must be asked for."""
        body = self.body(stream=stream)
        asked: dict[str, object] = {"request": body, "metadata": {"tag": self.tag}}
        if self.chance.random() < 0.1:
            asked["expires_in_s"] = self.chance.choice((3.0, 10.0))
        if self.chance.random() < 0.2:
            asked["max_tries"] = self.chance.choice((1, 2, 5))
        if "@" in str(body["model"]):
            asked["pin"] = self.chance.random() < 0.5
        request = self.request("POST", TASKS, json.dumps(asked).encode(), {"idempotency-key": self.key})
        while True:
            got = await self.insist(request)
            if got.status in {200, 202}:
                task_id = str(json.loads(got.body)["id"])
                self.take(task_id)
                return task_id
            self.shared.breach(f"{self.name}: its task was answered {got.status} {got.body!r}")
            await self.pause(5.0)


def call_headers(caller: Caller) -> dict[str, str]:
    """What a caller of an OpenAI route says beside the body."""
    headers: dict[str, str] = {}
    if caller.chance.random() < 0.3:
        headers["inferpool-on-disconnect"] = "continue"
    if caller.chance.random() < 0.2:
        headers["inferpool-queue"] = caller.chance.choice(("live", "never"))
    if caller.chance.random() < 0.2:
        headers["x-stainless-read-timeout"] = "12"
    return headers


async def ask_once(caller: Caller) -> None:
    """Asks, takes what comes."""
    body = json.dumps(caller.body(stream=False)).encode()
    try:
        got = await caller.ask(caller.request("POST", "/v1/chat/completions", body, call_headers(caller), 60.0))
    except TransportError as error:
        caller.note(str(error))
        return
    caller.judge(got)
    if got.code == "wait_timeout" and got.task_id is not None:
        await caller.poll(got.task_id)


async def ask_until_answered(caller: Caller) -> None:
    """Asks with a key until the answer is final."""
    body = json.dumps(caller.body(stream=False)).encode()
    headers = {**call_headers(caller), "idempotency-key": caller.key}
    for _ in range(20):
        got = await caller.insist(caller.request("POST", "/v1/chat/completions", body, headers, 30.0))
        caller.judge(got)
        if got.code not in {"wait_timeout", "cancelled"}:
            return
        await caller.pause(2.0)


async def ask_and_leave(caller: Caller) -> None:
    """Asks, then closes the connection."""
    body = json.dumps(caller.body(stream=caller.chance.random() < 0.5)).encode()
    request = caller.request("POST", "/v1/chat/completions", body, call_headers(caller), 60.0)
    try:
        async with asyncio.timeout(caller.chance.uniform(0.0, 3.0)):
            await caller.ask(request)
    except (TimeoutError, TransportError) as error:
        caller.note(f"left: {error!r}")


async def ask_for_stream(caller: Caller) -> None:
    """Asks for a stream; when it breaks off, follows the task by its id."""
    body = json.dumps(caller.body(stream=True)).encode()
    view = OpenAiView(caller.name, caller.tag, caller.shared.memory, caller.shared.breach)
    request = caller.request("POST", "/v1/chat/completions", body, call_headers(caller), 60.0)
    task_ids: list[str] = []
    try:
        await read_stream(caller, request, view, task_ids)
    except TransportError as error:
        caller.note(str(error))
    else:
        if task_ids and not view.done and view.error is None:
            caller.shared.breach(f"{caller.name}: its stream stopped without a word")
    caller.note(f"stream: {len(view.payloads)} chunks, done {view.done}, error {view.error}")
    for task_id in task_ids:
        caller.take(task_id)
        if view.done:
            caller.ended(task_id, "completed")
        else:
            await caller.follow(task_id)


async def read_stream(caller: Caller, request: HttpRequest, view: OpenAiView, task_ids: list[str]) -> None:
    """Read a streamed answer to its end; its task's id goes into `task_ids` as soon as it is known."""
    reader = EventReader()
    async with caller.shared.transport.open(request) as reply:
        if not reply.headers.get("content-type", "").startswith("text/event-stream"):
            caller.judge(Got(reply.status, dict(reply.headers), await reply.read()))
            return
        task_ids.append(reply.headers["inferpool-task-id"])
        async for part in reply.parts():
            for event in reader.feed(part.replace(b": ping\n", b"")):
                view.see(event)


async def enqueue_and_follow(caller: Caller) -> None:
    """An asynchronous task, watched by several through several connections."""
    task_id = await caller.enqueue(stream=caller.chance.random() < 0.7)
    watchers = [caller.follow(task_id, caller.chance.randint(0, 10)) for _ in range(caller.chance.randint(1, 2))]
    await asyncio.gather(*watchers)


async def enqueue_and_poll(caller: Caller) -> None:
    """An asynchronous task, asked for until it has ended."""
    await caller.poll(await caller.enqueue(stream=caller.chance.random() < 0.5))


async def enqueue_and_cancel(caller: Caller) -> None:
    """An asynchronous task that is cancelled at some time."""
    task_id = await caller.enqueue(stream=caller.chance.random() < 0.7)
    await caller.pause(4.0)
    got = await caller.insist(caller.request("DELETE", f"{TASKS}/{task_id}"))
    status = json.loads(got.body).get("status")
    if got.status != 200 or status not in {"completed", "error", "cancelled"}:
        caller.shared.breach(f"{caller.name}: its cancel was answered {got.status} {got.body!r}")
    await caller.follow(task_id)
    if caller.chance.random() < 0.5 and status != "completed":
        await replay(caller, task_id)


async def replay(caller: Caller, task_id: str) -> None:
    """Queue an ended task again, follow its new life."""
    caller.replayed = True
    got = await caller.insist(caller.request("POST", f"{TASKS}/{task_id}/replay"))
    caller.note(f"replayed: {got.status} {got.code}")
    if got.status not in {200, 202, 409}:
        caller.shared.breach(f"{caller.name}: its replay was answered {got.status} {got.body!r}")
    await caller.follow(task_id, caller.chance.randint(0, 3))


KINDS = (
    ask_once,
    ask_until_answered,
    ask_and_leave,
    ask_for_stream,
    ask_for_stream,
    enqueue_and_follow,
    enqueue_and_follow,
    enqueue_and_poll,
    enqueue_and_cancel,
)
