"""The outbox: order, acknowledgement, repetition, refusal, bounds."""

import asyncio

import pytest

from inferpool.core.llm import LlmStatus
from inferpool.wire.sessions import Chunk, Failed, LlmStatusChanged, Result, Returned, Started, Stopped, Woken
from tests.worker.outbox_bench import ALL_TAKEN, Bench, registered, seqs

pytestmark = pytest.mark.anyio


async def test_events_leave_in_order_and_are_forgotten_once_the_end_is_acknowledged() -> None:
    bench = Bench()
    entry = bench.outbox.open("t1", 1)
    bench.outbox.start(entry, Started(task_id="t1", attempt=1, status=200, content_type="text/event-stream"))
    bench.outbox.chunk(entry, "a")
    bench.outbox.chunk(entry, "b")
    bench.finish(entry)
    batch = bench.outbox.next_batch()
    assert [type(event).__name__ for event in bench.sent(batch)] == ["Started", "Chunk", "Chunk", "Result"]
    assert not bench.outbox.empty.is_set()
    bench.outbox.settle(batch, ALL_TAKEN)
    assert bench.outbox.empty.is_set()
    assert not bench.outbox.entries
    assert not bench.outbox.pending.is_set()


async def test_what_piles_up_while_a_batch_is_under_way_is_the_next_batch() -> None:
    bench = Bench()
    entry = bench.entry(chunks=1)
    first = bench.outbox.next_batch()
    bench.outbox.chunk(entry, "more")
    bench.outbox.settle(first, ALL_TAKEN)
    assert bench.outbox.pending.is_set()
    assert seqs(bench.sent()) == [2]


async def test_a_batch_is_bounded_in_events_and_attempts_take_turns() -> None:
    bench = Bench(batch_events=3)
    bench.entry("t1", chunks=5)
    bench.entry("t2", chunks=1)
    batch = bench.outbox.next_batch()
    assert seqs(bench.sent(batch)) == [1, 2, 3]
    bench.outbox.settle(batch, ALL_TAKEN)
    events = bench.sent()
    assert [(event.task_id, event.seq) for event in events if isinstance(event, Chunk)] == [
        ("t2", 1),
        ("t1", 4),
        ("t1", 5),
    ]


async def test_a_batch_is_bounded_in_bytes_but_one_big_answer_always_fits() -> None:
    bench = Bench(batch_bytes=1000)
    entry = bench.entry()
    bench.outbox.chunk(entry, "x" * 600)
    bench.outbox.chunk(entry, "y" * 600)
    bench.outbox.chunk(entry, "z" * 600)
    bench.outbox.end(
        entry, Result(task_id="t1", attempt=1, last_seq=3, status=200, content_type="text/plain", body="r" * 5000)
    )
    shapes = []
    for _ in range(3):
        batch = bench.outbox.next_batch()
        shapes.append([type(event).__name__ for event in bench.sent(batch)])
        bench.outbox.settle(batch, ALL_TAKEN)
    assert shapes == [["Chunk", "Chunk"], ["Chunk"], ["Result"]]
    assert bench.outbox.empty.is_set()


async def test_an_empty_batch_is_a_heartbeat() -> None:
    bench = Bench()
    assert bench.outbox.next_batch().body == b'{"events":[]}'


async def test_after_a_gap_everything_from_have_seq_on_is_sent_again() -> None:
    bench = Bench()
    entry = bench.entry(chunks=4)
    batch = bench.outbox.next_batch()
    bench.outbox.settle(batch, ALL_TAKEN)
    bench.finish(entry)
    bench.refuse(bench.outbox.next_batch(), "gap", have_seq=1)
    events = bench.sent()
    assert seqs(events) == [2, 3, 4]
    assert isinstance(events[-1], Result)


async def test_a_gap_of_everything_tells_the_start_again() -> None:
    bench = Bench()
    entry = bench.entry(chunks=2)
    bench.outbox.start(entry, Started(task_id="t1", attempt=1, status=200, content_type="text/event-stream"))
    bench.refuse(bench.outbox.next_batch(), "gap")
    assert [type(event).__name__ for event in bench.sent()] == ["Started", "Chunk", "Chunk"]


@pytest.mark.parametrize("reason", ["stale", "cancelled", "unknown"])
async def test_a_refused_chunk_stops_the_engine_and_then_says_stopped(reason: str) -> None:
    bench = Bench()
    entry = bench.entry(chunks=2)
    bench.refuse(bench.outbox.next_batch(), reason)
    assert bench.stopped == [("t1", 1)]
    bench.outbox.chunk(entry, "late")
    assert bench.sent() == []
    assert bench.outbox.holding() == []
    bench.outbox.end(entry, Returned(task_id="t1", attempt=1))
    batch = bench.outbox.next_batch()
    assert bench.sent(batch) == [Stopped(task_id="t1", attempt=1)]
    bench.outbox.settle(batch, ALL_TAKEN)
    assert bench.outbox.empty.is_set()


async def test_a_refused_result_is_forgotten() -> None:
    bench = Bench(shelve_after_s=0)
    entry = bench.entry()
    bench.finish(entry)
    assert bench.disk.files
    bench.refuse(bench.outbox.next_batch(), "stale")
    assert not bench.outbox.entries
    assert not bench.disk.files
    assert not bench.stopped


async def test_an_attempt_that_ended_while_its_chunk_was_refused_only_says_stopped() -> None:
    bench = Bench()
    entry = bench.entry(chunks=1)
    batch = bench.outbox.next_batch()
    bench.finish(entry)
    bench.refuse(batch, "cancelled")
    assert bench.stopped == []
    assert bench.sent() == [Stopped(task_id="t1", attempt=1)]


async def test_only_the_first_end_of_an_attempt_counts() -> None:
    bench = Bench()
    entry = bench.entry()
    bench.finish(entry)
    bench.outbox.end(entry, Failed(task_id="t1", attempt=1, code="engine_error", message="late"))
    assert [type(event) for event in bench.sent()] == [Result]


async def test_a_full_outbox_stops_its_readers_until_the_server_takes_something() -> None:
    bench = Bench(waiting_chunks=3)
    bench.entry(chunks=3)
    assert bench.full()
    waiting = asyncio.create_task(bench.outbox.pressure.room())
    batch = bench.outbox.next_batch()
    await asyncio.wait({waiting}, timeout=0)
    assert not waiting.done()
    bench.outbox.settle(batch, ALL_TAKEN)
    await waiting
    assert not bench.full()


async def test_the_bound_counts_bytes_too_and_an_attempt_that_goes_frees_its_part() -> None:
    bench = Bench(waiting_bytes=10)
    entry = bench.entry()
    bench.outbox.chunk(entry, "x" * 20)
    assert bench.full()
    bench.refuse(bench.outbox.next_batch(), "unknown")
    assert not bench.full()
    assert (bench.outbox.pressure.chunks, bench.outbox.pressure.bytes) == (0, 0)


async def test_holding_lists_running_and_ended_attempts() -> None:
    bench = Bench()
    bench.entry("runs", chunks=2)
    bench.finish(bench.entry("ended", chunks=1))
    held = {(item.task_id, item.last_seq, item.ended) for item in bench.outbox.holding()}
    assert held == {("runs", 2, False), ("ended", 1, True)}


async def test_registering_resumes_drops_and_keeps_what_the_server_says() -> None:
    bench = Bench()
    bench.entry("resumed", chunks=3)
    bench.entry("dropped", chunks=1)
    bench.finish(bench.entry("late"))
    bench.outbox.next_batch()  # under way while the worker registers anew: its answer is never read
    bench.outbox.bind(registered(resume={"resumed": 1}, drop=["dropped", "late"]))
    assert bench.stopped == [("dropped", 1)]
    assert list(bench.outbox.entries) == [("resumed", 1), ("dropped", 1)]
    assert seqs(bench.sent()) == [2, 3]


async def test_an_attempt_that_the_server_did_not_mention_goes_on_where_it_was() -> None:
    bench = Bench()
    entry = bench.entry(chunks=1)
    bench.outbox.settle(bench.outbox.next_batch(), ALL_TAKEN)
    bench.finish(entry)
    bench.outbox.bind(registered())
    assert [type(event) for event in bench.sent()] == [Result]


async def test_news_of_llms_do_not_outlive_the_registration_that_says_them_anyway() -> None:
    bench = Bench()
    bench.outbox.say(LlmStatusChanged(llm_name="m", status=LlmStatus.INACTIVE, slots=1))
    bench.outbox.say(Woken(wake_id="w", ok=False))
    bench.outbox.bind(registered())
    assert [type(event) for event in bench.sent()] == [Woken]


async def test_more_news_than_a_batch_takes_wait_for_the_next_one() -> None:
    bench = Bench(batch_events=1)
    bench.outbox.say(Woken(wake_id="a", ok=True))
    bench.outbox.say(Woken(wake_id="b", ok=True))
    batch = bench.outbox.next_batch()
    assert bench.sent(batch) == [Woken(wake_id="a", ok=True)]
    assert bench.outbox.pending.is_set()
    bench.outbox.settle(batch, ALL_TAKEN)
    assert bench.sent() == [Woken(wake_id="b", ok=True)]


async def test_a_batch_that_the_server_cannot_take_is_sent_in_smaller_ones() -> None:
    bench = Bench()
    bench.entry(chunks=4)
    bench.outbox.unsend(bench.outbox.next_batch())
    batch = bench.outbox.next_batch()
    assert seqs(bench.sent(batch)) == [1, 2]
    bench.outbox.settle(batch, ALL_TAKEN)
    assert seqs(bench.sent()) == [3, 4]


async def test_an_event_that_the_server_cannot_take_fails_its_attempt() -> None:
    bench = Bench()
    bench.finish(bench.entry())
    bench.outbox.condemn(bench.outbox.next_batch(), "too large")
    batch = bench.outbox.next_batch()
    events = bench.sent(batch)
    assert [type(event) for event in events] == [Failed]
    bench.outbox.condemn(batch, "not even that")
    assert not bench.outbox.entries
