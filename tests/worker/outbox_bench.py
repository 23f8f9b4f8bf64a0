"""An outbox alone, with what its uplink, its relays do to it."""

import msgspec

from inferpool.core.ids import TaskId
from inferpool.core.session import HeldAttempt
from inferpool.wire.sessions import (
    Chunk,
    Event,
    EventsReply,
    RefusedEvent,
    RegisterReply,
    Result,
    Resume,
    decode_events,
)
from inferpool.worker.batch import Batch
from inferpool.worker.disk import PatientDisk
from inferpool.worker.entry import Entry
from inferpool.worker.options import OutboxOptions
from inferpool.worker.outbox import Outbox
from inferpool.worker.shelf import Shelf
from tests.worker.parts import MemoryDisk, QuietLog

ALL_TAKEN = EventsReply()


class Bench:
    """An outbox on a disk in memory, with the keys that it stopped."""

    def __init__(self, disk: MemoryDisk | None = None, **options: object) -> None:
        self.disk = disk or MemoryDisk()
        self.log = QuietLog()
        self.stopped: list[tuple[str, int]] = []
        patient = PatientDisk(self.disk, self.log)
        settings = msgspec.convert(options, OutboxOptions)
        self.outbox = Outbox(settings, Shelf(patient, self.log), self.stop)

    def stop(self, task_id: str, attempt: int) -> None:
        self.stopped.append((task_id, attempt))

    def entry(self, task_id: str = "t1", chunks: int = 0) -> Entry:
        entry = self.outbox.open(task_id, 1)
        for number in range(1, chunks + 1):
            self.outbox.chunk(entry, f"{task_id}.{number}")
        return entry

    def full(self) -> bool:
        return self.outbox.pressure.full

    def finish(self, entry: Entry) -> None:
        self.outbox.end(entry, result(entry))

    def sent(self, batch: Batch | None = None) -> list[Event]:
        return decode_events((batch or self.outbox.next_batch()).body)

    def refuse(self, batch: Batch, reason: str, have_seq: int | None = None, task_id: str = "t1") -> None:
        refusal = RefusedEvent(task_id=task_id, attempt=1, reason=reason, have_seq=have_seq)
        self.outbox.settle(batch, EventsReply([refusal]))


def result(entry: Entry) -> Result:
    return Result(
        task_id=entry.task_id,
        attempt=entry.attempt,
        last_seq=entry.made,
        status=200,
        content_type="application/json",
        body='{"said":"everything"}',
    )


def registered(resume: dict[str, int] | None = None, drop: list[str] | None = None) -> RegisterReply:
    return RegisterReply(
        session_id="s",
        epoch=2,
        llms=[],
        heartbeat_s=5,
        grace_s=10,
        resume=[Resume(task_id=name, attempt=1, have_seq=have) for name, have in (resume or {}).items()],
        drop=[HeldAttempt(TaskId(name), 1) for name in drop or []],
    )


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events if isinstance(event, Chunk)]
