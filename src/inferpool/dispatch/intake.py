"""From a call to a durable task: enqueue, cancel, replay, purge."""

import asyncio
import hashlib
from functools import partial

from inferpool.core.errors import Code, LlmUnavailable, NotFound, ShuttingDown, StoreUnavailable
from inferpool.core.failpoints import reach
from inferpool.core.ids import BatchId, TaskId
from inferpool.core.llm import Llm
from inferpool.core.task import EXPIRES_IN, ClaimFor, IdempotencyKey, NewTask, QueueMode, Routing, TaskRow
from inferpool.dispatch.calls import Call, Ticket
from inferpool.dispatch.frames import claimed_at_once
from inferpool.dispatch.live import LiveSession
from inferpool.dispatch.moves import Moves
from inferpool.dispatch.scheduler import Scheduler
from inferpool.dispatch.shared import Shared
from inferpool.store.protocol import Cancelled, Enqueued
from inferpool.wire.forms import without_boundary


class Intake:
    """The callers' verbs."""

    def __init__(self, shared: Shared, scheduler: Scheduler, moves: Moves) -> None:
        self._shared = shared
        self._scheduler = scheduler
        self._moves = moves
        self.accepting = True
        """False while the server drains: new calls are refused."""

    async def submit(self, call: Call) -> Ticket:
        """Make the call a durable task, claimed at once where a slot is free.

        Raises `ModelNotFound`, `NotFound`, `LlmUnavailable`, `QueueFull`, `ShuttingDown`, `Conflict` (idempotency),
        `StoreUnavailable`; none of them leaves a row.
        """
        if not self.accepting:
            raise ShuttingDown("this server is shutting down; ask another, or again in a moment")
        shared = self._shared
        routing = shared.catalog.naming.route(call.model, call.mode, pin=call.pin, limits=call.limits)
        slot = self._scheduler.slot_for(routing.lane, call.endpoint)
        if slot is None:
            shared.catalog.naming.check_endpoint(routing, call.endpoint, call.limits)
        self._check_mode(call, routing, slot is not None)
        if slot is None:
            shared.backlog.admit(len(call.body))
            rank = shared.backlog.rank(routing.lane, call.owner, call.priority)
        else:
            rank = shared.backlog.front(routing.lane)
        task = self._new_task(call, routing, rank)
        if not call.watched:
            stored = await self._enqueue(task, slot)
            return Ticket(stored.task_id, stored.status, stored.created, None)
        return await self._submit_watched(call, task, slot)

    def _check_mode(self, call: Call, routing: Routing, has_slot: bool) -> None:
        if call.mode is QueueMode.LIVE and not self._shared.catalog.naming.live(routing, call.endpoint):
            raise LlmUnavailable(f"no live worker serves {call.model!r}; call with `Inferpool-Queue: wait` to queue")
        if call.mode is QueueMode.NEVER and not has_slot and not self._shared.peers.free(routing.lane):
            raise LlmUnavailable(f"no slot of {call.model!r} is free now; call with `Inferpool-Queue: wait` to queue")

    async def _submit_watched(self, call: Call, task: NewTask, slot: tuple[LiveSession, Llm] | None) -> Ticket:
        feed = self._shared.feed
        # Before the row exists, so that no end can be missed.
        watcher = feed.follow(task.id, None if call.persist else self._abandon, streamed=call.streaming)
        try:
            stored = await self._enqueue(task, slot)
            if not stored.created:
                watcher.close(by_server=True)
                watcher = await feed.watch(stored.task_id, blocking=True, streamed=call.streaming)
        except BaseException as error:  # a caller that is gone abandons the row, a failure left none
            watcher.close(by_server=isinstance(error, Exception))
            raise
        if call.persist:
            feed.strand(stored.task_id).alone = None
        return Ticket(stored.task_id, stored.status, stored.created, watcher)

    def _enqueue(self, task: NewTask, slot: tuple[LiveSession, Llm] | None) -> "asyncio.Future[Enqueued]":
        shared = self._shared
        claim = None
        if slot is not None:
            session, llm = slot
            session.reserve(session.engines[llm.engine])
            claim = ClaimFor(
                session_id=session.id,
                epoch=session.epoch,
                server_id=shared.server_id,
                llm_name=llm.name,
                batch=BatchId(task.id),  # a batch of one
                run_limit=shared.options.run_limit,
            )
        future = shared.store.enqueue(task, claim)
        future.add_done_callback(partial(self._stored, task, slot))
        return future

    def _stored(self, task: NewTask, slot: tuple[LiveSession, Llm] | None, future: "asyncio.Future[Enqueued]") -> None:
        """The enqueue is durable, or failed: whoever asked may be gone, the slot must not leak."""
        shared = self._shared
        routing = task.routing
        failed = future.cancelled() or future.exception() is not None
        stored = None if failed else future.result()
        if stored is None or not stored.created:
            if slot is None:
                shared.backlog.refused(routing.lane, task.owner, task.priority, task.rank)
        elif slot is not None and stored.attempt:
            self._scheduler.dispatch(slot[0], claimed_at_once(task, slot[1].name, stored.attempt))
        else:
            shared.backlog.entered(routing.lane, len(task.request))
        if slot is not None:
            slot[0].release(slot[0].engines[slot[1].engine])
        if stored is not None:
            shared.feed.stored(task.id)
            shared.tally.enqueued[task.endpoint] += stored.created
            if not stored.attempt:
                watched = stored.created and shared.feed.find(task.id) is not None
                self._scheduler.call(routing.lane, task.id if watched else None)

    def _new_task(self, call: Call, routing: Routing, rank: float) -> NewTask:
        shared = self._shared
        key = None
        if call.idempotency_key is not None:
            key = IdempotencyKey(call.idempotency_key, _digest(call))
        return NewTask(
            id=TaskId(shared.new_id()),
            routing=routing,
            endpoint=call.endpoint,
            request=call.body,
            content_type=call.content_type,
            headers=call.headers,
            streaming=call.streaming,
            priority=call.priority,
            rank=rank,
            owner=call.owner,
            agent=call.agent,
            mode=call.mode,
            max_tries=call.max_tries if call.mode is QueueMode.WAIT else 1,
            metadata=call.metadata,
            expires_in=call.expires_in,
            idempotency=key,
        )

    def _abandon(self, task_id: TaskId) -> None:
        """The last watcher of a caller's task left before its end."""
        self._shared.background.spawn(self._cancel_abandoned(task_id), "cancel of an abandoned call")

    async def _cancel_abandoned(self, task_id: TaskId) -> None:
        """Nobody is left to ask again, so a store that refuses for now (a full disk) is asked until it takes it."""
        while True:
            try:
                await self._cancel(task_id)
            except StoreUnavailable:
                await asyncio.sleep(self._shared.options.poll_s)
            else:
                return

    def _cancel(self, task_id: TaskId) -> "asyncio.Future[Cancelled]":
        reach("cancel.before_store")
        future = self._shared.store.cancel(task_id)
        future.add_done_callback(self._cancelled)
        return future

    def _cancelled(self, future: "asyncio.Future[Cancelled]") -> None:
        if future.cancelled() or future.exception() is not None:
            return
        moved = future.result().moved
        if moved is not None:
            self._moves.apply([moved], Code.CANCELLED)

    async def _owned(self, task_id: TaskId, owner: str | None) -> TaskRow:
        row = await self._shared.reader.row(task_id)
        if row is None:
            raise NotFound(f"there is no task {task_id}")
        if owner not in {None, row.owner}:
            raise NotFound.unseen(f"there is no task {task_id}")
        return row

    async def cancel(self, task_id: TaskId, owner: str | None) -> TaskRow:
        """Cancel the task, whatever it does; an ended one is answered unchanged. `owner` None: an operator asks."""
        await self._owned(task_id, owner)
        await self._cancel(task_id)
        return await self._owned(task_id, owner)

    async def replay(self, task_id: TaskId, owner: str | None) -> TaskRow:
        """Queue a task in error, or a cancelled one, again. Raises `NotFound`, `Conflict`."""
        shared = self._shared
        row = await self._owned(task_id, owner)
        rank = shared.backlog.rank(row.lane, row.owner, row.priority)
        try:
            moved = await shared.store.replay(task_id, rank, EXPIRES_IN)
        except Exception:
            shared.backlog.refused(row.lane, row.owner, row.priority, rank)
            raise
        shared.feed.part(task_id)
        shared.announcer.parted(task_id)
        shared.backlog.entered(moved.lane, moved.size)
        self._scheduler.call(moved.lane)
        return await self._owned(task_id, owner)

    async def purge(self, task_id: TaskId, owner: str | None) -> None:
        """Remove an ended task for good. Raises `NotFound`, or `Conflict` while it lives."""
        await self._owned(task_id, owner)
        await self._shared.store.purge(task_id)
        self._shared.feed.part(task_id)
        self._shared.announcer.parted(task_id)


def _digest(call: Call) -> str:
    """What two calls have in common when one repeats the other; a client that repeats a form draws a new boundary."""
    pinned = call.model if call.pin else ""
    body = without_boundary(call.body, call.content_type)
    return hashlib.sha256(b"\0".join((call.endpoint.encode(), pinned.encode(), body))).hexdigest()
