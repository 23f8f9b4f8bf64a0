"""Registering: identity, epochs, refusals."""

import asyncio

import pytest

from inferpool.core.errors import Forbidden, NameInUse, ProtocolUnsupported, SessionReplaced
from inferpool.wire.sessions import (
    RegisterReply,
    RegisterRequest,
    Result,
    Started,
)
from tests.worker.engine_peer import FINISH, Script, delta, infer
from tests.worker.memory import PATIENCE_S
from tests.worker.server_peer import LOST, Always, InTurn, accept, reply_to, taken
from tests.worker.workers import House

pytestmark = pytest.mark.anyio


class Diary:
    """Accepts, noting what the state file said at each registration."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.entries: list[tuple[object, str | None, int]] = []

    def __call__(self, asked: RegisterRequest) -> RegisterReply:
        self.entries.append((self._house.state(), asked.session_id, asked.epoch))
        return reply_to(asked)


async def test_a_worker_publishes_the_models_of_its_engine_under_its_own_name(house: House) -> None:
    house.engine.models = ["tiny", "hf.co/x/y:Q4"]
    house.engine.slots = 7
    async with house.linked():
        asked = house.server.registrations[0]
    assert [(llm.name, llm.model, llm.pool_name, llm.slots, llm.engine) for llm in asked.llms] == [
        ("tiny@box", "tiny", "tiny", 7, "http://engine"),
        ("hf.co/x/y:Q4@box", "hf.co/x/y:Q4", "hf.co/x/y:Q4", 7, "http://engine"),
    ]
    assert (asked.session_id, asked.epoch, house.server.secrets) == ("session-1", 1, ["secret-1"])


async def test_identity_and_epoch_are_on_disk_before_they_are_used(house: House) -> None:
    diary = house.server.on_register = Diary(house)
    async with house.linked():
        pass
    stored = {
        "session_id": "session-1",
        "secret": "secret-1",
        "epoch": 1,
        "engines": {"http://engine": {"models": ["tiny"], "slots": 4}},
    }
    assert diary.entries == [(stored, "session-1", 1)]


async def test_a_restarted_worker_comes_back_as_the_same_session_under_a_higher_epoch(house: House) -> None:
    async with house.linked():
        pass
    async with house.running():
        await house.until_linked(2)
    asked = [(request.session_id, request.epoch) for request in house.server.registrations]
    assert asked == [("session-1", 1), ("session-1", 2)]
    assert house.server.secrets == ["secret-1", "secret-1"]


async def test_a_damaged_state_file_begins_a_new_session(house: House) -> None:
    house.disk.files["state.json"] = b"{"
    async with house.linked():
        assert house.server.registrations[0].session_id == "session-1"
    assert any("damaged" in said for said in house.log.said)


async def test_a_registration_whose_answer_is_lost_is_repeated_under_the_next_epoch(house: House) -> None:
    house.server.on_register = InTurn(accept, LOST)
    async with house.linked():
        pass
    assert epochs(house) == [1, 2]


async def test_a_name_in_use_is_waited_for_and_said_once(house: House) -> None:
    taken_name = NameInUse("tiny@box belongs to another session")
    house.server.on_register = InTurn(accept, taken_name, taken_name, taken_name)
    async with house.linked():
        pass
    assert epochs(house) == [1, 2, 3, 4]
    assert house.log.said.count("not registered yet, trying again") == 1


async def test_a_fresh_process_tries_again_above_the_stored_epoch(house: House) -> None:
    house.server.on_register = InTurn(accept, SessionReplaced("a newer registration stands", epoch=7))
    async with house.linked():
        pass
    assert epochs(house) == [1, 8]


async def test_a_registered_process_whose_own_request_was_repeated_registers_above_it(house: House) -> None:
    async with house.linked():
        house.server.on_register = InTurn(accept, SessionReplaced("epoch 2 is not above 2", epoch=2))
        house.server.cut_channel()
        await house.until_linked(2)
    assert epochs(house) == [1, 2, 3]


async def test_a_registered_process_ends_when_its_registration_is_replaced(house: House) -> None:
    life = asyncio.create_task(house.worker().run())
    await house.until_linked()
    house.server.on_register = Always(SessionReplaced("epoch 2 is not above 9", epoch=9))
    house.server.cut_channel()
    with pytest.raises(SessionReplaced, match=r"another process .* this one ends: epoch 2 is not above 9"):
        await life


async def test_a_process_that_lost_its_channel_to_another_one_ends_before_it_registers_above_it(house: House) -> None:
    life = asyncio.create_task(house.worker().run())
    await house.until_linked()
    house.server.on_events = Always(SessionReplaced("epoch 1 was replaced by 2", epoch=2))
    house.server.cut_channel()
    with pytest.raises(SessionReplaced, match="another process"):
        await asyncio.wait_for(life, PATIENCE_S)
    assert epochs(house) == [1]


async def test_a_server_that_does_not_tell_whether_the_channel_went_to_another_is_registered_with(house: House) -> None:
    async with house.linked():
        house.server.on_events = InTurn(taken, LOST)
        house.server.cut_channel()
        await house.until_linked(2)
    assert epochs(house) == [1, 2]


async def test_a_process_ends_when_the_uplink_of_its_newest_epoch_is_replaced(house: House) -> None:
    house.server.on_events = Always(SessionReplaced("another process registered", epoch=9))
    life = asyncio.create_task(house.worker().run())
    await house.until_linked()
    house.server.push(infer())
    with pytest.raises(SessionReplaced):
        await life
    assert not house.engine.transport.open_now


async def test_an_uplink_refused_while_a_newer_registration_is_under_way_means_nothing(house: House) -> None:
    script = Script()
    house.engine.then(script)
    async with house.linked():
        house.server.push(infer(streaming=True))
        await house.until_event(Started)
        house.server.on_register = InTurn(accept, NameInUse("wait a little"), NameInUse("wait a little"))
        house.server.cut_channel()
        await house.server.signal.until(lambda: len(house.server.registrations) >= 2)
        house.server.on_events = InTurn(taken, SessionReplaced("a newer registration stands", epoch=2))
        script.say(delta("a"))
        await house.until_linked(2)
        script.say(FINISH, "[DONE]")
        await house.until_event(Result)


async def test_a_protocol_that_the_server_does_not_speak_ends_the_process(house: House) -> None:
    house.server.on_register = Always(ProtocolUnsupported("upgrade this worker"))
    with pytest.raises(ProtocolUnsupported, match="upgrade"):
        await house.worker().run()


async def test_a_server_that_is_not_there_yet_is_waited_for(house: House) -> None:
    house.server.up = False
    async with house.running():
        await house.log.signal.until(lambda: "not registered yet, trying again" in house.log.said)
        house.server.up = True
        await house.until_linked()


async def test_a_wrong_secret_is_said_and_tried_again(house: House) -> None:
    house.server.on_register = InTurn(accept, Forbidden("the session's secret is another one"))
    async with house.linked():
        pass
    assert len(house.server.registrations) == 2


async def test_no_epoch_is_used_before_the_disk_has_it(house: House) -> None:
    house.disk.full = True
    async with house.running():
        await house.log.signal.until(lambda: "not registered yet, trying again" in house.log.said)
        assert house.server.registrations == []
        house.disk.full = False
        await house.until_linked()
    assert house.state()["epoch"] == epochs(house)[-1]


def epochs(house: House) -> list[int]:
    return [asked.epoch for asked in house.server.registrations]
