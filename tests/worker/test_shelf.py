"""What of the outbox lies on disk: finished answers, long streams."""

import pytest

from inferpool.wire.sessions import Failed, Result
from inferpool.worker.batch import Batch
from tests.worker.outbox_bench import ALL_TAKEN, Bench, registered, seqs
from tests.worker.parts import MemoryDisk

pytestmark = pytest.mark.anyio

EMPTY = Batch([], 0, 0, b"")


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


async def test_a_damaged_outbox_file_is_said_and_removed() -> None:
    disk = MemoryDisk()
    disk.files["t1.1.result"] = b"{"
    bench = Bench(disk)
    assert bench.outbox.holding() == []
    assert disk.files == {}
    assert any("damaged" in said for said in bench.log.said)


async def test_a_finished_stream_is_shelved_with_the_chunks_that_were_spilled_before() -> None:
    bench = Bench(memory_bytes=1, shelve_after_s=0)
    entry = bench.entry(chunks=3)
    bench.outbox.settle(bench.outbox.next_batch(), ALL_TAKEN)
    assert list(bench.disk.files) == ["t1.1.chunks"]
    bench.finish(entry)
    assert list(bench.disk.files) == ["t1.1.result"]
    bench.outbox.bind(registered(resume={"t1": 0}))
    assert seqs(bench.sent()) == [1, 2, 3]


async def test_a_shelved_stream_leaves_the_memory_without_a_second_copy() -> None:
    bench = Bench(memory_bytes=1, shelve_after_s=0)
    entry = bench.entry(chunks=3)
    bench.outbox.settle(bench.outbox.next_batch(), ALL_TAKEN)
    bench.finish(entry)
    bench.refuse(bench.outbox.next_batch(), "gap", have_seq=2)
    bench.outbox.settle(EMPTY, ALL_TAKEN)
    assert list(bench.disk.files) == ["t1.1.result"]
    bench.outbox.bind(registered(resume={"t1": 0}))
    assert seqs(bench.sent()) == [1, 2, 3]


async def test_an_answer_whose_spilled_chunks_are_lost_is_not_shelved() -> None:
    bench = Bench(memory_bytes=1, shelve_after_s=0)
    entry = bench.entry(chunks=3)
    bench.outbox.settle(bench.outbox.next_batch(), ALL_TAKEN)
    bench.disk.files.clear()
    bench.finish(entry)
    assert bench.disk.files == {}
    bench.outbox.shelving.close()


async def test_names_of_files_are_no_paths() -> None:
    bench = Bench(shelve_after_s=0)
    bench.finish(bench.entry("../../etc/passwd"))
    assert list(bench.disk.files) == ["..%2F..%2Fetc%2Fpasswd.1.result"]


async def test_an_outbox_that_closes_puts_on_disk_what_still_waits() -> None:
    bench = Bench(shelve_after_s=60)
    bench.finish(bench.entry())
    assert bench.disk.files == {}
    bench.outbox.shelving.close()
    assert list(bench.disk.files) == ["t1.1.result"]
