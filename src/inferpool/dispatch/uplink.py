"""What workers say of their attempts: chunks into the feed, ends into the store.

Ends are judged by the row. Every consequence hangs on the store's future, not on the request that brought the event,
so a connection that breaks in between leaves no slot used, no caller waiting.
"""

import asyncio
from functools import partial
from typing import Final, TypeAlias, assert_never

import msgspec

from inferpool.core.errors import Code, StoreUnavailable
from inferpool.core.failpoints import reach
from inferpool.core.ids import ServerId, TaskId
from inferpool.core.lifecycle import HELD, Status
from inferpool.core.llm import LlmChange
from inferpool.core.stream import Verdict as SeqVerdict
from inferpool.core.stream import judge_seq, pack_chunks
from inferpool.core.task import Fault, TaskRow
from inferpool.dispatch.judge import End, end_of_failure, end_of_result, end_of_stop
from inferpool.dispatch.live import LiveSession
from inferpool.dispatch.moves import Moves
from inferpool.dispatch.scheduler import Scheduler
from inferpool.dispatch.shared import Shared
from inferpool.dispatch.slots import Held, HeldState
from inferpool.dispatch.strand import Head, Outcome, Strand
from inferpool.store.protocol import Completion, Failure, Retry, Settlement, Spoken, Verdict
from inferpool.wire.sessions import (
    Chunk,
    Event,
    Failed,
    LlmStatusChanged,
    RefusedEvent,
    Result,
    Returned,
    Started,
    Stopped,
    Woken,
)

Key: TypeAlias = tuple[TaskId, int]

_REFUSING: Final = frozenset({Verdict.STALE, Verdict.CANCELLED, Verdict.UNKNOWN})


class _Batch:
    """One batch on its way through."""

    __slots__ = ("ends", "reasons", "refused", "session", "touched")

    def __init__(self, session: LiveSession, reasons: dict[Key, str]) -> None:
        self.session = session
        self.reasons = reasons
        """Why chunks of attempts that are not held are refused."""
        self.refused: dict[Key, RefusedEvent] = {}
        self.touched: dict[Strand, None] = {}
        self.ends: list[tuple[Key, asyncio.Future[Settlement]]] = []

    def refuse(self, key: Key, reason: str, have_seq: int | None = None) -> None:
        """Nothing more of this attempt is taken from this batch."""
        if key not in self.refused:
            self.refused[key] = RefusedEvent(task_id=key[0], attempt=key[1], reason=reason, have_seq=have_seq)


class Uplink:
    """Takes batches of events, in order."""

    def __init__(self, shared: Shared, scheduler: Scheduler, moves: Moves) -> None:
        self._shared = shared
        self._moves = moves
        self._scheduler = scheduler

    async def take(self, session: LiveSession, events: list[Event]) -> list[RefusedEvent]:
        """Take a batch; returns what was refused once everything else is durable."""
        # First: a failure in this batch may be of an engine that just went away.
        await self._take_changes(session, events)
        batch = _Batch(session, await self._look_up(session, events))
        for event in events:
            if type(event) is Chunk:
                self._chunk(batch, event)
            else:
                self._other(batch, event)
        for strand in batch.touched:
            strand.wake()
        self._shared.announcer.relay(batch.touched)
        if batch.touched:
            reach("stream.after_chunk")
        for key, future in batch.ends:
            settlement = await future
            if settlement.verdict in _REFUSING:
                batch.refuse(key, settlement.verdict.value)
        if session.served_by is not None:
            self._tell_freed(session, session.served_by, events)
        return self._refused(batch)

    def _tell_freed(self, session: LiveSession, server_id: ServerId, events: list[Event]) -> None:
        """The worker is through with these attempts, whatever became of them: its slots are counted at its session's server."""
        for event in events:
            if isinstance(event, Result | Failed | Stopped | Returned):
                self._shared.announcer.freed(server_id, session.id, TaskId(event.task_id), event.attempt)

    def _refused(self, batch: _Batch) -> list[RefusedEvent]:
        refused = list(batch.refused.values())
        for one in refused:
            self._shared.tally.refused[one.reason] += 1
        return refused

    def _other(self, batch: _Batch, event: Event) -> None:
        match event:
            case Started():
                self._started(batch, event)
            case Result():
                self._result(batch, event)
            case Failed():
                self._failed(batch, event)
            case Returned():
                self._returned(batch, event)
            case Stopped():
                self._stopped(batch, event)
            case Woken() | Chunk() | LlmStatusChanged():  # wakes come with hibernating llms: nobody waits for one yet
                pass
            case _:
                assert_never(event)

    # ---- attempts that memory does not know ----------------------------------------------------------------------

    async def _look_up(self, session: LiveSession, events: list[Event]) -> dict[Key, str]:
        """Ask the rows about attempts that the session does not hold here; hold those that the rows say it does."""
        held = session.held
        reasons: dict[Key, str] = {}
        for event in events:
            if isinstance(event, Woken | LlmStatusChanged):
                continue
            key = (TaskId(event.task_id), event.attempt)
            if key not in held and key not in reasons:
                row = await self._shared.reader.row(key[0])
                if row is not None and _is_held(row, session, key):
                    if key not in held:  # another batch may have looked it up meanwhile
                        self._hold(session, row)
                else:
                    cancelled = row is not None and row.status is Status.CANCELLED
                    reasons[key] = "unknown" if row is None else "cancelled" if cancelled else "stale"
        return reasons

    def _hold(self, session: LiveSession, row: TaskRow) -> None:
        strand = self._shared.feed.begin(row.id, row.attempt)
        llm_name = row.claimed_llm or ""
        held = Held(row.id, row.attempt, llm_name, session.engine_of(llm_name), strand)
        held.state = HeldState.WRITTEN
        session.hold(held)
        if session.served_by is not None:
            self._shared.announcer.interest.asked(row.id, session.served_by, row.attempt, 0)

    # ---- one event -----------------------------------------------------------------------------------------------

    def _chunk(self, batch: _Batch, event: Chunk) -> None:
        key = (TaskId(event.task_id), event.attempt)
        held = batch.session.held.get(key)
        if held is None or held.state is HeldState.STOPPING or held.strand.attempt != event.attempt:
            batch.refuse(key, held.why or "stale" if held else batch.reasons.get(key, "stale"))
            return
        tally, strand = self._shared.tally, held.strand
        have = len(strand.chunks)
        verdict = judge_seq(have, event.seq)
        if verdict is SeqVerdict.GAP:
            batch.refuse(key, "gap", have)
        elif verdict is SeqVerdict.ACCEPT and key not in batch.refused:
            if not have:
                tally.first_chunks.observe(self._shared.feed.loop.time() - held.since)
            tally.chunks += 1
            strand.add(event.data)
            batch.touched[strand] = None
            if strand.size > self._shared.options.stream_bytes:
                self._too_long(batch, held)

    def _too_long(self, batch: _Batch, held: Held) -> None:
        limit = self._shared.options.stream_bytes
        fault = Fault(Code.TOO_LARGE, f"the answer is longer than {limit} bytes, the limit of a stream")
        spoken = Spoken(held.task_id, held.attempt, batch.session.id)
        self._submit(batch, held, Failure(spoken=spoken, fault=fault))
        self._scheduler.stop(batch.session, held, "stale")

    def _started(self, batch: _Batch, event: Started) -> None:
        key = (TaskId(event.task_id), event.attempt)
        held = batch.session.held.get(key)
        if held is None or held.state is HeldState.STOPPING:
            batch.refuse(key, held.why or "stale" if held else batch.reasons.get(key, "stale"))
        elif held.strand.attempt == event.attempt and held.strand.head is None:
            held.strand.head = Head(event.status, event.content_type)
            batch.touched[held.strand] = None
            self._shared.store.start(Spoken(key[0], key[1], batch.session.id))

    def _result(self, batch: _Batch, event: Result) -> None:
        key = (TaskId(event.task_id), event.attempt)
        if key in batch.refused:
            return
        held = batch.session.held.get(key)
        chunks = None
        if held is not None and held.state is not HeldState.STOPPING and event.last_seq:
            have = len(held.strand.chunks) if held.strand.attempt == event.attempt else 0
            if event.last_seq > have:
                batch.refuse(key, "gap", have)
                return
            chunks = pack_chunks(held.strand.chunks)
        spoken = Spoken(key[0], key[1], batch.session.id)
        self._submit(batch, held, end_of_result(spoken, event, self._shared.jitter.random(), chunks), key)

    def _failed(self, batch: _Batch, event: Failed) -> None:
        key = (TaskId(event.task_id), event.attempt)
        spoken = Spoken(key[0], key[1], batch.session.id)
        end = end_of_failure(spoken, event, self._shared.jitter.random())
        self._submit(batch, batch.session.held.get(key), end, key)

    def _stopped(self, batch: _Batch, event: Stopped) -> None:
        key = (TaskId(event.task_id), event.attempt)
        held = batch.session.held.get(key)
        if held is None:
            return
        if held.state is HeldState.STOPPING:
            self._scheduler.free(batch.session, held)
            return
        spoken = Spoken(key[0], key[1], batch.session.id)
        self._submit(batch, held, end_of_stop(spoken, event, self._shared.jitter.random()), key)

    def _returned(self, batch: _Batch, event: Returned) -> None:
        key = (TaskId(event.task_id), event.attempt)
        held = batch.session.held.get(key)
        future = self._shared.store.give_back(Spoken(key[0], key[1], batch.session.id))
        if held is not None:
            future.add_done_callback(partial(self._scheduler.given_back, batch.session, held))
        batch.ends.append((key, future))

    # ---- ends ----------------------------------------------------------------------------------------------------

    def _submit(self, batch: _Batch, held: Held | None, end: End, key: Key | None = None) -> None:
        """Hand the end to the store; its consequences follow the commit."""
        reach("end.before_store")
        store = self._shared.store
        if isinstance(end, Completion):
            future = store.complete(end)
        elif isinstance(end, Retry):
            future = store.retry(end)
        else:
            future = store.fail(end)
        future.add_done_callback(partial(self._ended, batch.session, held, end))
        if key is not None:
            batch.ends.append((key, future))

    def _ended(self, session: LiveSession, held: Held | None, end: End, future: "asyncio.Future[Settlement]") -> None:
        """The end is durable, or refused: either way the worker is through with this attempt."""
        if future.cancelled() or future.exception() is not None:
            return  # the worker was not told, it says it again
        settlement = future.result()
        if settlement.verdict is Verdict.DONE:
            self._publish(end, settlement, held)
        elif held is not None:
            self._moves.over(held)
        if held is not None and held.state is not HeldState.FREED:
            self._scheduler.free(session, held)

    def _publish(self, end: End, settlement: Settlement, held: Held | None) -> None:
        status = settlement.status
        if status is Status.PENDING:
            self._shared.tally.retried += 1
            self._scheduler.came_back(settlement)
        elif status is not None:
            fault = None if isinstance(end, Completion) else end.fault
            self._shared.tally.ended[status, fault.code if fault else ""] += 1
            outcome = Outcome(status=status, attempt=end.spoken.attempt, answer=end.answer, fault=fault)
            strand = None if held is None else held.strand
            self._shared.announcer.ended(strand, end.spoken.task_id, end.spoken.attempt)
            self._shared.feed.end(end.spoken.task_id, outcome)
        if isinstance(end, Completion) and held is not None and held.flow is not None:
            self._shared.backlog.spent(*held.flow, end.usage)
            ran_s = self._shared.feed.loop.time() - held.since
            self._shared.pace.ran(held.flow[0], ran_s)
            self._shared.tally.runs.observe(ran_s)

    # ---- llms ----------------------------------------------------------------------------------------------------

    async def _take_changes(self, session: LiveSession, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, LlmStatusChanged):
                await self._change(session, event)

    async def _change(self, session: LiveSession, event: LlmStatusChanged) -> None:
        """An engine went away, came back, has other slots."""
        llm = session.llms.get(event.llm_name)
        if llm is None:
            return
        before = session.revisions.get(event.llm_name, 0)
        if event.revision and event.revision <= before:
            return  # a request that comes late: the worker has said something newer since
        session.revisions[event.llm_name] = event.revision
        try:
            change = LlmChange(event.llm_name, event.status, event.slots, event.revision)
            await self._shared.store.set_llm_status(session.id, session.epoch, change)
        except StoreUnavailable:
            if session.revisions[event.llm_name] == event.revision:
                session.revisions[event.llm_name] = before  # the worker says it again
            raise
        if session.gone:
            return
        session.change(msgspec.structs.replace(llm, status=event.status, slots=event.slots))
        self._shared.catalog.publish(session.llms.values(), session.id)
        self._shared.announcer.sessions([session.id])
        self._scheduler.kick_session(session)


def _is_held(row: TaskRow, session: LiveSession, key: Key) -> bool:
    return row.status in HELD and row.claimed_by == session.id and row.attempt == key[1]
