"""What of the outbox lies on disk: finished answers, long streams."""

import pytest

from inferpool.wire.sessions import Failed, Result
from tests.worker.outbox_bench import ALL_TAKEN, Bench, registered, seqs

pytestmark = pytest.mark.anyio


async def test_acknowledged_chunks_go_to_disk_and_come_back_when_the_server_asks() -> None:
    bench = Bench(memory_bytes=10)
    entry = bench.entry(chunks=5)
    bench.outbox.settle(bench.outbox.next_batch(), ALL_TAKEN)
    assert entry.chunks == []
    assert bench.outbox.pressure.kept_bytes == 0
    assert list(bench.disk.files) == ["t1.1.chunks"]
    bench.outbox.chunk(entry, "t1.6")
    bench.outbox.bind(registered(resume={"t1": 2}))
    assert seqs(bench.sent()) == [3, 4, 5, 6]
    assert not bench.disk.files


async def test_chunks_stay_in_memory_while_the_disk_is_full() -> None:
    bench = Bench(memory_bytes=10)
    bench.disk.full = True
    entry = bench.entry(chunks=5)
    bench.outbox.settle(bench.outbox.next_batch(), ALL_TAKEN)
    assert len(entry.chunks) == 5
    bench.outbox.chunk(entry, "t1.6")
    bench.outbox.settle(bench.outbox.next_batch(), ALL_TAKEN)
    bench.outbox.bind(registered(resume={"t1": 0}))
    assert seqs(bench.sent()) == [1, 2, 3, 4, 5, 6]
    assert len(bench.log.said) == 1


async def test_a_stream_whose_spilled_chunks_are_lost_fails_and_its_engine_is_stopped() -> None:
    bench = Bench(memory_bytes=1)
    bench.entry(chunks=3)
    bench.outbox.settle(bench.outbox.next_batch(), ALL_TAKEN)
    bench.disk.files.clear()
    bench.outbox.bind(registered(resume={"t1": 0}))
    assert [type(event) for event in bench.sent()] == [Failed]
    assert bench.stopped == [("t1", 1)]


async def test_the_longest_stream_is_spilled_first() -> None:
    bench = Bench(memory_bytes=50)
    bench.entry("long", chunks=9)
    bench.entry("short", chunks=1)
    bench.outbox.settle(bench.outbox.next_batch(), ALL_TAKEN)
    assert list(bench.disk.files) == ["long.1.chunks"]


async def test_a_restarted_worker_delivers_a_stream_from_any_chunk_on() -> None:
    bench = Bench(shelve_after_s=0)
    bench.finish(bench.entry(chunks=3))
    again = Bench(bench.disk)
    assert [(item.last_seq, item.ended) for item in again.outbox.holding()] == [(3, True)]
    assert not again.outbox.empty.is_set()
    again.outbox.bind(registered(resume={"t1": 1}))
    batch = again.outbox.next_batch()
    events = again.sent(batch)
    assert seqs(events) == [2, 3]
    assert isinstance(events[-1], Result)
    again.outbox.settle(batch, ALL_TAKEN)
    assert not bench.disk.files


async def test_a_restarted_worker_forgets_attempts_that_had_not_ended() -> None:
    bench = Bench(memory_bytes=1)
    bench.entry(chunks=3)
    bench.outbox.settle(bench.outbox.next_batch(), ALL_TAKEN)
    assert bench.disk.files
    again = Bench(bench.disk)
    assert again.outbox.holding() == []
    assert not bench.disk.files
