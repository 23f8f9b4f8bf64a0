"""The link to the server: a lost channel, a session that became inactive, frames."""

import pytest

from inferpool.core.errors import SessionInactive
from inferpool.wire.sessions import (
    Chunk,
    Ping,
    Result,
    Sleep,
    Wake,
    Woken,
)
from tests.worker.engine_peer import FINISH, Script, delta, infer
from tests.worker.server_peer import InTurn, nothing, taken
from tests.worker.workers import House

pytestmark = pytest.mark.anyio


async def test_a_lost_channel_registers_anew_with_everything_that_is_held(house: House) -> None:
    script = Script()
    house.engine.then(script)
    async with house.linked():
        house.server.push(infer(streaming=True))
        script.say(delta("a"), delta("b"))
        await house.until_event(Chunk, 2)
        house.server.cut_channel()
        await house.until_linked(2)
        again = house.server.registrations[1]
        assert [(held.task_id, held.last_seq, held.ended) for held in again.holding] == [("t1", 2, False)]
        assert (again.epoch, house.state()["epoch"]) == (2, 2)
        script.say(FINISH, "[DONE]")
        result = await house.until_event(Result)
    assert isinstance(result, Result)
    assert result.last_seq == 3
    assert house.server.epochs[-1] == 2


async def test_a_channel_without_a_sign_of_life_is_dropped(house: House) -> None:
    async with house.linked():
        channel = next(request for request in house.server.requests if request.url.endswith("/channel"))
    # The transport keeps the time of silence; the worker asks it to.
    assert channel.silence_s == house.options.patience.channel_s


async def test_a_session_that_became_inactive_registers_again(house: House) -> None:
    house.server.on_events = InTurn(taken, SessionInactive("register first"))
    async with house.linked():
        house.server.push(infer())
        await house.until_linked(2)
        await house.until_event(Result)
    assert [asked.epoch for asked in house.server.registrations] == [1, 2]


async def test_a_channel_refused_as_inactive_registers_again(house: House) -> None:
    house.server.on_channel = InTurn(nothing, SessionInactive("register first"))
    async with house.linked():
        assert len(house.server.registrations) == 2


async def test_an_attempt_that_runs_already_is_not_begun_twice(house: House) -> None:
    script = Script()
    house.engine.then(script)
    async with house.linked():
        house.server.push(infer(streaming=True))
        house.server.push(infer(streaming=True))
        script.say(FINISH, "[DONE]")
        await house.until_event(Result)
        assert len(house.engine.requests) == 1


async def test_frames_that_ask_for_nothing_here_change_nothing(house: House) -> None:
    async with house.linked():
        house.server.push(Ping())
        house.server.push(Sleep(llm_name="tiny@box"))
        house.server.push(Wake(wake_id="w1", llm_name="tiny@box"))
        woken = await house.until_event(Woken)
    assert isinstance(woken, Woken)
    assert not woken.ok
