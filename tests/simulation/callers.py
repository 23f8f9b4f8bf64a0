"""The callers of a run: each asks one thing in its own way, holds the server to its word, gives up never."""

import asyncio
import json
from random import Random

import msgspec

from inferpool.client.transport import HttpRequest, Reply, TransportError
from tests.simulation.engine import MODEL
from tests.simulation.laws import Laws
from tests.simulation.link import Inbox
from tests.simulation.network import MemoryTransport
from tests.simulation.trace import Trace
from tests.simulation.views import EventReader, Memory, NativeView

TASKS = "/api/v1/inference-tasks"
FINAL = frozenset({200, 400, 429, 499, 500, 502, 503, 504})
"""Statuses that a call may end in; a bare 404, 409 or 500 of the server's own never."""


class Got(msgspec.Struct, frozen=True):
    """An answer that arrived whole."""

    status: int
    headers: dict[str, str]
    body: bytes
    asked_s: float = 0.0
    undisturbed: bool = False
    """Nothing befell its connection."""
    answered_by: str = ""
    """The process that answered."""

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

    addresses: tuple[str, ...]
    """Of the servers: any of them will do."""
    transport: MemoryTransport
    laws: Laws
    memory: Memory
    trace: Trace
    accepted: dict[str, str]
    """Tasks that the server said it has, with their tags: none of them may vanish."""
    keyed: dict[str, None]
    """Tags that were asked for under one idempotency key each, and never replayed: one completed task is all there may be."""

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
            url=f"http://{self.address()}{path}",
            headers={**kind, **(headers or {})},
            body=body,
            timeout_s=timeout_s,
            silence_s=timeout_s,
        )

    def address(self) -> str:
        """Of a server to ask."""
        addresses = self.shared.addresses
        return addresses[0] if len(addresses) == 1 else self.chance.choice(addresses)

    async def ask(self, request: HttpRequest) -> Got:
        """One request; raises `TransportError`."""
        asked_s = self.shared.trace.now
        async with self.shared.transport.open(request) as reply:
            body = await reply.read()
            got = Got(reply.status, dict(reply.headers), body, asked_s, undisturbed(reply), answered_by(reply))
        self.note(f"{request.method} /{path_of(request)} -> {got.status} {got.code or ''}")
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
            request = msgspec.structs.replace(request, url=f"http://{self.address()}/{path_of(request)}")

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
        if got.task_id is not None and got.undisturbed:
            self.shared.laws.check_prompt(self.name, got.task_id, (got.answered_by, got.asked_s))

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
        asked_s = self.shared.trace.now
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
                if view.end is not None and undisturbed(reply):
                    self.shared.laws.check_prompt(self.name, task_id, (answered_by(reply), asked_s))
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
                if got.undisturbed:
                    self.shared.laws.check_prompt(self.name, task_id, (got.answered_by, got.asked_s))
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
        self.shared.keyed[self.tag] = None
        while True:
            got = await self.insist(request)
            if got.status in {200, 202}:
                task_id = str(json.loads(got.body)["id"])
                self.take(task_id)
                return task_id
            self.shared.breach(f"{self.name}: its task was answered {got.status} {got.body!r}")
            await self.pause(5.0)


def undisturbed(reply: Reply) -> bool:
    """Whether nothing befell the connection that this answer comes by."""
    return isinstance(reply, Inbox) and reply.undisturbed


def answered_by(reply: Reply) -> str:
    """The process that this answer comes from."""
    return reply.answered_by if isinstance(reply, Inbox) else ""


def path_of(request: HttpRequest) -> str:
    """What is asked for, after the address, with its query."""
    return request.url.split("/", 3)[3]
