"""`GET /api/v1/inference-tasks/{id}/stream`: any number of watchers, before, during, after the run."""

from typing import Final

import msgspec

from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import TERMINAL, Status
from inferpool.core.stream import parse_event_id
from inferpool.core.task import StoredTask
from inferpool.dispatch.strand import Chunks, Ended, Outcome, Restarted
from inferpool.server.inference_tasks import find
from inferpool.server.presence import Presence
from inferpool.server.pump import pump
from inferpool.server.query import Query, path_id
from inferpool.server.request import EVENT_STREAM, Reply, Request
from inferpool.server.site import Site
from inferpool.wire.openai import PING
from inferpool.wire.tasks import Line, frame_end, frame_line, frame_numbered, frame_reset, show_row, show_task

_encode: Final = msgspec.json.Encoder().encode


async def stream(site: Site, request: Request) -> Reply | None:
    """Chunks with the id `ATTEMPT-SEQ`, then the end with the row; `Last-Event-ID` resumes without loss or repeat."""
    task_id = TaskId(path_id(request, "task_id", "task"))
    Query(request)
    told = request.headers.get(b"last-event-id")
    last = parse_event_id(told.decode("latin-1").strip()) if told else None
    stored = await find(site, request, task_id)
    if last is not None and last.ended and stored.row.status in TERMINAL and stored.row.attempt == last.attempt:
        return Reply(status=204)  # nothing more will come: an EventSource stops at this
    watcher = await site.dispatch.feed.watch(task_id, last, streamed=True)
    try:
        with Presence(request):
            framing = NativeFraming(site, stored)
            await request.start(200, list(EVENT_STREAM))
            if stored.row.status is Status.PENDING:
                await request.write(await framing.idle())
            await pump(request, watcher, framing, site.options.comment_s)
    finally:
        watcher.close()
    return None


class NativeFraming:
    """Numbered chunks, `reset` where what was seen is void, the end under its status' name."""

    __slots__ = ("_site", "_stored")

    def __init__(self, site: Site, stored: StoredTask) -> None:
        self._site = site
        self._stored = stored

    def chunks(self, seen: Chunks) -> bytes:
        """Each payload under its own id."""
        return frame_numbered(seen.attempt, seen.first_seq, seen.payloads)

    def restarted(self, seen: Restarted) -> tuple[bytes, bool]:
        """The watcher forgets what it saw, the stream goes on."""
        return frame_reset(seen.attempt), False

    async def ended(self, seen: Ended) -> bytes:
        """The row as it is in the store; nothing when only the server ends: the watcher comes back with its last id."""
        outcome = seen.outcome
        if outcome.status not in TERMINAL:
            return b""
        stored = await self._site.dispatch.reader.task(self._stored.row.id)
        if stored is None:
            return frame_end(outcome.status, outcome.attempt, self._purged(outcome))
        return frame_end(outcome.status, outcome.attempt, _encode(show_task(stored)))

    async def idle(self) -> bytes:
        """Where the task stands while it waits, else a comment."""
        row = await self._site.dispatch.reader.row(self._stored.row.id)
        standing = None if row is None else await self._site.dispatch.queue.standing(row)
        return PING if standing is None else frame_line(Line(standing.position, standing.wait_s))

    def _purged(self, outcome: Outcome) -> bytes:
        """The row as it was known, for one that was deleted before its end could be told."""
        return _encode(
            msgspec.structs.replace(
                show_row(self._stored.row), status=outcome.status, attempt=outcome.attempt, error=outcome.fault
            )
        )
