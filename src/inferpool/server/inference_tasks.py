"""The native routes of tasks: make, read, list, cancel, purge, replay, history (spec section 5, "Async API")."""

from typing import Final

import msgspec

from inferpool.core.access import Caller
from inferpool.core.errors import Forbidden, InvalidRequest, NotFound
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import TERMINAL, Status
from inferpool.core.task import StoredTask, TaskFilter
from inferpool.dispatch.calls import Call
from inferpool.dispatch.line import Standing
from inferpool.server.following import headers_of
from inferpool.server.presence import Presence
from inferpool.server.query import Query, path_id
from inferpool.server.request import Reply, Request
from inferpool.server.site import Site
from inferpool.wire.openai import CallBody, CallHeaders, check_metadata, read_body, read_headers
from inferpool.wire.tasks import (
    AttemptList,
    Line,
    NewTaskRequest,
    TaskList,
    read_new_task,
    show_attempt,
    show_row,
    show_task,
    tries_of,
)

PATH: Final = "/api/v1/inference-tasks"
WAIT_MOST_S: Final = 60.0
_FILTERS: Final = frozenset({"status", "pool", "llm", "agent", "owner", "from", "to", "cursor", "limit"})

_encode: Final = msgspec.json.Encoder().encode


async def create(site: Site, request: Request) -> Reply:
    """Queue a task that nobody waits for: 202, or 200 where the idempotency key led to one that stood already."""
    new = read_new_task(await request.body(site.options.max_body_bytes))
    wish = read_headers(request.headers)
    body = bytes(new.request)
    ticket = await site.dispatch.intake.submit(_asked(request.caller, new, wish, (_read_inner(new, body), body)))
    request.task_id = ticket.task_id
    stored = await find(site, request, ticket.task_id)
    standing = await site.dispatch.queue.standing(stored.row)
    if standing is not None:
        request.extra += headers_of(standing)
    headers = [("Location", f"{PATH}/{ticket.task_id}")]
    body = _encode(show_task(stored, _line(standing)))
    return Reply(status=202 if ticket.created else 200, body=body, headers=headers)


def _read_inner(new: NewTaskRequest, body: bytes) -> CallBody:
    check_metadata(new.metadata or {})
    try:
        return read_body(new.endpoint, body)
    except InvalidRequest as error:
        inside = "request" if error.param is None else f"request.{error.param}"
        raise InvalidRequest(f"in `request`: {error.message}", param=inside) from error


def _asked(caller: Caller, new: NewTaskRequest, headers: CallHeaders, inner: tuple[CallBody, bytes]) -> Call:
    known, body = inner
    return Call(
        owner=caller.subject,
        limits=caller.limits,
        endpoint=new.endpoint,
        body=body,
        model=known.model,
        streaming=known.streaming,
        priority=known.priority if new.priority is None else new.priority.value,
        mode=headers.mode,
        pin=headers.pin if new.pin is None else new.pin,
        metadata=known.labels if new.metadata is None else new.metadata,
        idempotency_key=headers.idempotency_key,
        expires_in=new.expires_in,
        max_tries=tries_of(new),
        watched=False,
        persist=True,
    )


async def read(site: Site, request: Request) -> Reply:
    """The task; with `?wait=S` not before it ended, or S seconds passed."""
    task_id = TaskId(path_id(request, "task_id", "task"))
    wait_s = Query(request, {"wait"}).seconds("wait", WAIT_MOST_S)
    stored = await find(site, request, task_id)
    if wait_s and stored.row.status not in TERMINAL:
        await _wait(site, request, task_id, wait_s)
        stored = await find(site, request, task_id)
    return Reply(body=await task_body(site, stored))


async def _wait(site: Site, request: Request, task_id: TaskId, wait_s: float) -> None:
    watcher = await site.dispatch.feed.watch(task_id)
    try:
        with Presence(request):
            await watcher.end(wait_s)
    finally:
        watcher.close()


async def list_all(site: Site, request: Request) -> Reply:
    """Tasks, newest first, without their bodies."""
    query = Query(request, _FILTERS)
    limit = query.limit()
    before = query.cursor()
    owner = query.text("owner")
    which = TaskFilter(
        owner=owner or request.only,
        statuses=_statuses(query),
        pool=query.text("pool"),
        llm=query.text("llm"),
        agent=query.text("agent"),
        from_us=query.time("from"),
        to_us=query.time("to"),
    )
    if request.only is not None and owner not in {None, request.only}:
        return Reply(body=_encode(TaskList([], None)))  # another's tasks: there are none to be seen
    rows = await site.dispatch.reader.tasks(which, None if before is None else TaskId(before), limit + 1)
    more = len(rows) > limit
    page = [show_row(row) for row in rows[:limit]]
    return Reply(body=_encode(TaskList(page, page[-1].id if more else None)))


def _statuses(query: Query) -> list[Status]:
    try:
        return [Status(text) for text in query.texts("status")]
    except ValueError as error:
        raise InvalidRequest(f"`status` is one of {', '.join(Status)}", param="status") from error


async def remove(site: Site, request: Request) -> Reply:
    """Cancel the task (an ended one is answered unchanged), or with `?purge=true` delete an ended one."""
    task_id = TaskId(path_id(request, "task_id", "task"))
    if Query(request, {"purge"}).flag("purge"):
        await site.dispatch.intake.purge(task_id, request.only)
        return Reply(status=204)
    await site.dispatch.intake.cancel(task_id, request.only)
    return Reply(body=await task_body(site, await find(site, request, task_id)))


async def replay(site: Site, request: Request) -> Reply:
    """Queue a task in error, or a cancelled one, again."""
    task_id = TaskId(path_id(request, "task_id", "task"))
    Query(request)
    await _check_reach(site, request, task_id)
    await site.dispatch.intake.replay(task_id, request.only)
    return Reply(body=await task_body(site, await find(site, request, task_id)))


async def _check_reach(site: Site, request: Request, task_id: TaskId) -> None:
    """Raises `Forbidden` where the caller's limits do not reach the llms that would run its task again."""
    if request.caller.limits:
        row = (await find(site, request, task_id)).row
        if not request.caller.limits.covers(row.lane, row.pool_name):
            raise Forbidden(f"this token is limited to other llms or pools than {row.model!r}")


async def attempts(site: Site, request: Request) -> Reply:
    """The task's history: which session tried it when, how that ended."""
    task_id = TaskId(path_id(request, "task_id", "task"))
    Query(request)
    await find(site, request, task_id)
    history = await site.dispatch.reader.attempts(task_id)
    return Reply(body=_encode(AttemptList([show_attempt(attempt) for attempt in history])))


async def find(site: Site, request: Request, task_id: TaskId) -> StoredTask:
    """The task, if its caller may see it. Raises `NotFound`."""
    stored = await site.dispatch.reader.task(task_id)
    if stored is None:
        raise NotFound(f"there is no task {task_id}")
    if request.only not in {None, stored.row.owner}:
        raise NotFound.unseen(f"there is no task {task_id}")
    return stored


async def task_body(site: Site, stored: StoredTask) -> bytes:
    """The task's JSON, with its place in the line while it is pending."""
    return _encode(show_task(stored, _line(await site.dispatch.queue.standing(stored.row))))


def _line(standing: Standing | None) -> Line | None:
    return None if standing is None else Line(position=standing.position, wait_s=standing.wait_s)
