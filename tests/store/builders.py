"""Builders of what the tests of a store hand in, with the worker that speaks in them."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from inferpool.core.clock import HOUR, Micros
from inferpool.core.errors import Code
from inferpool.core.ids import BatchId, ServerId, SessionId, TaskId
from inferpool.core.lifecycle import Standing, Status
from inferpool.core.llm import Llm
from inferpool.core.session import HeldAttempt, LlmOffer, Registration
from inferpool.core.task import (
    Answer,
    ClaimedTask,
    ClaimFor,
    Fault,
    IdempotencyKey,
    NewTask,
    QueueMode,
    Routing,
    TaskRow,
    Usage,
)
from inferpool.core.turns import Turns
from inferpool.store.connection import Connection
from inferpool.store.protocol import (
    Claim,
    Completion,
    Failure,
    LanesWant,
    Moved,
    Registered,
    Retry,
    SessionLoss,
    Spoken,
    Store,
    StoreReader,
)

LANE = "pool:qwen"
SERVER = ServerId("01900000-0000-7000-9000-000000000001")
SECOND_SERVER = ServerId("01900000-0000-7000-9000-000000000002")
ANSWER = Answer(200, "application/json", b'{"choices": []}')
REFUSAL = Answer(503, "text/plain", b"overloaded")
FAULT = Fault(Code.ENGINE_ERROR, "the engine answered 503")
USAGE = Usage(prompt_tokens=7, completion_tokens=5)

Value: TypeAlias = str | bytes | int | float | None
"""What a column holds."""

_ids = itertools.count(1)


class Doctor(Connection, Protocol):
    """A connection that only looks."""

    def close(self) -> None:
        """Let it go."""
        ...


class Rig(Protocol):
    """One open store with what only its tests may do to it."""

    store: Store
    reader: StoreReader
    refusal: type[Exception]
    """What `sql` raises for a row that breaks a constraint."""

    def now(self) -> Micros:
        """What the database's clock says."""
        ...

    def later(self, duration: Micros) -> None:
        """Let the database's clock go on by that long."""
        ...

    async def flushed(self) -> None:
        """Wait until everything noted without a commit of its own is in the rows."""
        ...

    def sql(self, statement: str, *values: Value) -> list[tuple[Value, ...]]:
        """Run one statement on a connection of its own."""
        ...

    def tamper(self, statement: str, *values: Value) -> int:
        """Change rows behind the server's back, whatever the law says of them; gives how many."""
        ...

    def doctor(self) -> Doctor:
        """The connection of someone who only looks, beside the server."""
        ...


def new_id() -> str:
    """A UUIDv7 that sorts after all that were made before it."""
    return f"01900000-0000-7000-8000-{next(_ids):012x}"


def new_task(lane: str = LANE, *, key: str | None = None, **changes: object) -> NewTask:
    """A task as intake asks for it, with those fields changed; its key's hash is that of its request."""
    scope, _, name = lane.partition(":")
    plain = NewTask(
        id=TaskId(new_id()),
        routing=Routing(
            lane=lane,
            pool_name=name if scope == "pool" else None,
            llm_name=name if scope == "llm" else None,
            model="qwen",
            tier=name if scope == "tier" else None,
        ),
        endpoint="chat/completions",
        request=b'{"model": "qwen"}',
        priority="default",
        rank=1.0,
        owner="local",
        metadata={"batch": "7"},
    )
    task = msgspec.structs.replace(plain, **changes)
    if key is None:
        return task
    return msgspec.structs.replace(task, idempotency=IdempotencyKey(key, task.request.hex()))


def offer(name: str, **changes: object) -> LlmOffer:
    """An llm of the pool `qwen` as a worker publishes it, with those fields changed."""
    plain = LlmOffer(
        name=name,
        model="qwen2.5",
        pool_name="qwen",
        engine="http://127.0.0.1:8000",
        slots=4,
        extra={"quant": "Q4"},
    )
    return msgspec.structs.replace(plain, **changes)


def want(lane: str = LANE, llm_name: str = "qwen@a", endpoints: list[str] | None = None) -> LanesWant:
    """A lane that an llm may take from."""
    return LanesWant(lane=lane, llm_name=llm_name, endpoints=endpoints)


class Worker:
    """One session as its worker sees it; each registration takes the next epoch."""

    def __init__(self, rig: Rig, name: str = "a", server_id: ServerId = SERVER) -> None:
        self.rig = rig
        self.store = rig.store
        self.name = name
        self.llm = f"qwen@{name}"
        self.id = SessionId(new_id())
        self.server_id = server_id
        self.subject = "local"
        self.epoch = 0

    def registration(
        self,
        holding: Iterable[tuple[TaskId, int]] = (),
        *,
        llms: list[LlmOffer] | None = None,
        unwritten: Iterable[tuple[TaskId, int]] = (),
    ) -> Registration:
        """What its next registration says."""
        return Registration(
            session_id=self.id,
            secret_hash=f"hash of {self.id}",
            epoch=self.epoch + 1,
            server_id=self.server_id,
            subject=self.subject,
            worker_name=self.name,
            worker_version="0.1.0",
            labels={"gpu": "none"},
            llms=[offer(self.llm)] if llms is None else llms,
            holding=[HeldAttempt(*held) for held in holding],
            unwritten=[HeldAttempt(*held) for held in unwritten],
        )

    async def register(
        self,
        holding: Iterable[tuple[TaskId, int]] = (),
        *,
        llms: list[LlmOffer] | None = None,
        unwritten: Iterable[tuple[TaskId, int]] = (),
    ) -> Registered:
        """Register under the next epoch."""
        registered = await self.store.register(self.registration(holding, llms=llms, unwritten=unwritten))
        self.epoch += 1
        return registered

    def claim_of(
        self,
        lanes: Sequence[LanesWant] | None = None,
        *,
        free: int = 10,
        run_limit: Micros = HOUR,
        turns: Turns | None = None,
    ) -> Claim:
        """What a claim of its session asks for."""
        return Claim(
            session_id=self.id,
            epoch=self.epoch,
            server_id=self.server_id,
            batch=BatchId(new_id()),
            free=free,
            lanes=[want(llm_name=self.llm)] if lanes is None else list(lanes),
            run_limit=run_limit,
            turns=Turns() if turns is None else turns,
        )

    async def claim(
        self, lanes: Sequence[LanesWant] | None = None, *, free: int = 10, run_limit: Micros = HOUR
    ) -> list[ClaimedTask]:
        """Claim for its llm."""
        return await self.store.claim(self.claim_of(lanes, free=free, run_limit=run_limit))

    def slot(self) -> ClaimFor:
        """A free slot of its llm, for an enqueue."""
        return ClaimFor(
            session_id=self.id,
            epoch=self.epoch,
            server_id=self.server_id,
            llm_name=self.llm,
            batch=BatchId(new_id()),
        )

    def loss(
        self, *, counts: bool = True, silent_for: Micros = 0, unwritten: Iterable[tuple[TaskId, int]] = ()
    ) -> SessionLoss:
        """The end of its grace."""
        return SessionLoss(
            session_id=self.id,
            epoch=self.epoch,
            server_id=self.server_id,
            silent_for=silent_for,
            counts=counts,
            unwritten=[HeldAttempt(*held) for held in unwritten],
        )

    async def lose(self, *, counts: bool = True, unwritten: Iterable[tuple[TaskId, int]] = ()) -> list[Moved]:
        """Let its grace end."""
        moved = await self.store.deactivate(self.loss(counts=counts, unwritten=unwritten))
        assert moved is not None
        return moved

    def says(self, task_id: TaskId, attempt: int = 1) -> Spoken:
        """Its word on an attempt."""
        return Spoken(task_id, attempt, self.id)


async def registered(rig: Rig, name: str = "a", server_id: ServerId = SERVER) -> Worker:
    """A worker of the pool `qwen` whose session is active."""
    worker = Worker(rig, name, server_id)
    await worker.register()
    return worker


def complete(spoken: Spoken, *, chunks: bytes | None = None, answer: Answer = ANSWER) -> Completion:
    return Completion(spoken=spoken, answer=answer, usage=USAGE, chunks=chunks)


def retry(spoken: Spoken, *, counts: bool = True, delay: Micros = 0) -> Retry:
    return Retry(spoken=spoken, fault=FAULT, answer=REFUSAL, delay=delay, counts=counts)


def fail(spoken: Spoken) -> Failure:
    return Failure(spoken=spoken, fault=FAULT, answer=REFUSAL, usage=USAGE, detail="invalid key ****")


async def enqueue(rig: Rig, count: int = 1, *, lane: str = LANE) -> list[TaskId]:
    """That many tasks at once, their ranks rising."""
    tasks = [new_task(lane, rank=float(rank)) for rank in range(1, count + 1)]
    for task in tasks:
        await rig.store.enqueue(task, None)
    return [task.id for task in tasks]


async def row_of(rig: Rig, task_id: TaskId) -> TaskRow:
    """The stored row, which must be there."""
    row = await rig.reader.row(task_id)
    assert row is not None
    return row


async def kept_llm(reader: StoreReader, name: str) -> Llm | None:
    """The llm as it is stored."""
    return next((llm for llm in await reader.llms(None, 1000) if llm.name == name), None)


async def claimed(rig: Rig, worker: Worker, *, max_tries: int = 3, mode: QueueMode = QueueMode.WAIT) -> TaskId:
    """A task that the worker's session holds in its first attempt."""
    made = await rig.store.enqueue(new_task(max_tries=max_tries, mode=mode), worker.slot())
    assert (made.status, made.attempt) == (Status.CLAIMED, 1)
    return made.task_id


async def running(rig: Rig, worker: Worker, *, max_tries: int = 3, mode: QueueMode = QueueMode.WAIT) -> TaskId:
    """A task whose engine answers the worker."""
    task_id = await claimed(rig, worker, max_tries=max_tries, mode=mode)
    rig.store.start(worker.says(task_id))
    await rig.flushed()
    return task_id


async def ended(rig: Rig, worker: Worker, status: Status) -> TaskId:
    """A task that ended like this in its first attempt."""
    task_id = await running(rig, worker)
    if status is Status.COMPLETED:
        await rig.store.complete(complete(worker.says(task_id)))
    elif status is Status.ERROR:
        await rig.store.fail(fail(worker.says(task_id)))
    else:
        await rig.store.cancel(task_id)
    return task_id


async def standing_of(rig: Rig, task_id: TaskId) -> Standing | None:
    """What the law sees of the stored task, with its history; None when it is gone."""
    row = await rig.reader.row(task_id)
    if row is None:
        return None
    history = await rig.reader.attempts(task_id)
    return Standing(
        status=row.status,
        attempt=row.attempt,
        tries=row.tries,
        max_tries=row.max_tries,
        ready=row.ready,
        claimed_by=row.claimed_by,
        lost_by=row.lost_by,
        lost_counted=row.lost_by is not None and history[-1].counted,
        patient=row.mode is QueueMode.WAIT,
    )
