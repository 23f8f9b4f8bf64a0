"""The ways in which callers ask: once, with patience, for a stream, in the background, with a change of mind."""

import asyncio
import json

from inferpool.client.transport import HttpRequest, TransportError
from tests.simulation.callers import TASKS, Caller, Got
from tests.simulation.laws import PROMPT_S
from tests.simulation.views import EventReader, OpenAiView


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
    caller.shared.keyed[caller.tag] = None
    for _ in range(20):
        got = await caller.insist(caller.request("POST", "/v1/chat/completions", body, headers, 30.0))
        caller.judge(got)
        if got.code not in {"wait_timeout", "cancelled"}:
            return
        await caller.pause(2.0)


async def ask_and_leave(caller: Caller) -> None:
    """Asks, then closes the connection: unless it said otherwise, its task is cancelled at once."""
    body = json.dumps(caller.body(stream=caller.chance.random() < 0.5)).encode()
    headers = call_headers(caller)
    exchange = caller.shared.transport.open(caller.request("POST", "/v1/chat/completions", body, headers, 60.0))
    try:
        async with asyncio.timeout(caller.chance.uniform(0.0, 3.0)), exchange as reply:
            await reply.read()
        return  # what the server ended itself cancels nothing
    except TransportError as error:
        caller.note(str(error))
        return
    except TimeoutError:
        caller.note("left")
    left_s = caller.shared.trace.now
    if "inferpool-on-disconnect" in headers or not getattr(exchange, "undisturbed", False):
        return
    await asyncio.sleep(PROMPT_S)
    laws = caller.shared.laws
    if (
        laws.is_undisturbed(getattr(exchange, "answered_by", ""), left_s)
        and caller.tag != "bad"
        and laws.lives(caller.tag)
    ):
        caller.shared.breach(f"{caller.name} left, its task lives on")


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
    caller.shared.keyed.pop(caller.tag, None)
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
