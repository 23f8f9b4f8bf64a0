"""The uplink of a whole worker: repeated, refused, kept on disk."""

import msgspec
import pytest

from inferpool.core import failpoints
from inferpool.core.errors import StoreUnavailable, TooLarge
from inferpool.wire.sessions import (
    Chunk,
    Event,
    EventsReply,
    Failed,
    RegisterReply,
    RegisterRequest,
    Result,
    decode_events,
)
from tests.worker.engine_peer import FINISH, Script, delta, infer
from tests.worker.server_peer import LOST, Always, InTurn, reply_to, taken
from tests.worker.workers import House

pytestmark = pytest.mark.anyio


async def test_a_batch_whose_answer_is_lost_is_repeated_exactly(house: House) -> None:
    house.server.on_events = InTurn(taken, LOST)
    async with house.linked():
        house.server.push(infer())
        await house.server.signal.until(lambda: len(house.server.batches) >= 2)
    assert house.server.batches[0] == house.server.batches[1]
    assert [type(event) for event in decode_events(house.server.batches[0])] == [Result]


async def test_a_server_error_is_waited_out(house: House) -> None:
    full = StoreUnavailable("the disk is full")
    house.server.on_events = InTurn(taken, full, full)
    async with house.linked():
        house.server.push(infer())
        await house.server.signal.until(lambda: len(house.server.batches) >= 3)
        await house.log.signal.until(lambda: "the server takes events again" in house.log.said)
    assert house.log.said.count("the server does not take events: they wait here") == 1


async def test_an_answer_too_large_for_the_server_becomes_a_failure(house: House) -> None:
    house.server.on_events = without_results
    async with house.linked():
        house.server.push(infer("t1"))
        house.server.push(infer("t2"))
        await house.until_event(Failed, 2)


async def test_an_idle_worker_sends_heartbeats(house: House) -> None:
    house.server.on_register = in_a_hurry
    async with house.linked():
        await house.server.signal.until(lambda: len(house.server.batches) >= 3)
    assert set(house.server.batches) == {b'{"events":[]}'}


async def test_a_result_that_waits_is_on_disk_and_a_restarted_worker_delivers_it(house: House) -> None:
    house.set_outbox(shelve_after_s=0.01)
    house.server.on_events = Always(LOST)
    async with house.linked():
        house.server.push(infer())
        await house.disk.signal.until(lambda: "t1.1.result" in house.disk.files)
    house.server.on_events = taken
    house.server.batches.clear()
    async with house.running():
        await house.until_event(Result)
        await house.disk.signal.until(lambda: "t1.1.result" not in house.disk.files)
    held = house.server.registrations[1].holding
    assert [(item.task_id, item.ended) for item in held] == [("t1", True)]


async def test_an_answer_finished_while_the_server_was_away_is_delivered(house: House) -> None:
    script = Script()
    house.engine.then(script)
    async with house.linked():
        house.server.push(infer(streaming=True))
        script.say(delta("a"))
        await house.until_event(Chunk)
        house.server.up = False
        house.server.cut_channel()
        script.say(delta("b"), FINISH, "[DONE]")
        await house.disk.signal.until(lambda: "t1.1.result" in house.disk.files)
        house.server.up = True
        result = await house.until_event(Result)
    assert isinstance(result, Result)
    assert result.last_seq == 3


async def test_a_full_disk_costs_nothing_while_the_process_lives_and_is_said_once(house: House) -> None:
    house.set_outbox(shelve_after_s=0.0, disk_retry_s=0.01)
    house.server.on_events = Always(LOST)
    async with house.linked():
        house.disk.full = True
        house.server.push(infer("t1"))
        house.server.push(infer("t2"))
        await house.server.signal.until(lambda: len(house.server.batches) >= 2)
        assert list(house.disk.files) == ["state.json"]
        house.disk.full = False
        await house.disk.signal.until(lambda: len(house.disk.files) >= 3)
        house.server.on_events = taken
        await house.until_event(Result, 2)
    assert sum("the disk refuses" in said for said in house.log.said) == 1


async def test_failpoints_of_the_worker_are_reached(house: House) -> None:
    names = ["worker.before_first_chunk", "worker.after_chunk", "worker.after_result", "worker.after_send"]
    reached: list[str] = []
    for name in names:
        failpoints.arm(name, Reached(reached, name))
    try:
        house.set_outbox(shelve_after_s=0.0)
        script = Script()
        house.engine.then(script)
        async with house.linked():
            house.server.push(infer(streaming=True))
            script.say(delta("a"), FINISH, "[DONE]")
            await house.until_event(Result)
            await house.disk.signal.until(lambda: "t1.1.result" not in house.disk.files)
    finally:
        failpoints.disarm()
    assert reached == [names[0], names[1], names[1], names[2], names[3]]


class Reached:
    """Notes a failpoint."""

    def __init__(self, reached: list[str], name: str) -> None:
        self._reached = reached
        self._name = name

    def __call__(self) -> None:
        self._reached.append(self._name)


def without_results(events: list[Event]) -> EventsReply:
    """A server that takes no big bodies."""
    if any(isinstance(event, Result) for event in events):
        raise TooLarge("at most 1 MB")
    return EventsReply()


def in_a_hurry(asked: RegisterRequest) -> RegisterReply:
    """A server that wants many heartbeats."""
    return msgspec.structs.replace(reply_to(asked), heartbeat_s=0.01)
