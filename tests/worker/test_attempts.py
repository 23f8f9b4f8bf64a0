"""Attempts: begun, cancelled, refused, limited, their requests fetched."""

import pytest

from inferpool.client.transport import TransportError
from inferpool.core.errors import (
    NotFound,
    SessionInactive,
)
from inferpool.core.llm import LlmStatus
from inferpool.wire.sessions import (
    CancelRun,
    Chunk,
    Failed,
    LlmStatusChanged,
    RegisterReply,
    RegisterRequest,
    Result,
    Returned,
    Started,
    Stopped,
)
from tests.worker.engine_peer import FINISH, Answer, Breaks, Script, delta, infer
from tests.worker.server_peer import LOST, Always, InTurn, Refuse, nothing, reply_to, taken
from tests.worker.workers import House

pytestmark = pytest.mark.anyio


async def test_a_cancel_closes_the_engines_request_and_then_says_stopped(house: House) -> None:
    script = Script()
    house.engine.then(script)
    async with house.linked():
        house.server.push(infer(streaming=True))
        script.say(delta("a"))
        await house.until_event(Chunk)
        house.server.push(CancelRun(task_id="t1", attempt=1))
        await house.until_event(Stopped)
        assert house.engine.transport.open_now == 0
        assert house.events(Result) == []


async def test_a_cancel_that_comes_with_its_infer_stops_it_before_it_began(house: House) -> None:
    async with house.linked():
        house.server.push(infer())
        house.server.push(CancelRun(task_id="t1", attempt=1))
        await house.until_event(Stopped)
    assert house.events(Result) == []


async def test_a_cancel_of_something_unknown_says_stopped_so_that_its_slot_is_free(house: House) -> None:
    async with house.linked():
        house.server.push(CancelRun(task_id="never-seen", attempt=4))
        assert await house.until_event(Stopped) == Stopped(task_id="never-seen", attempt=4)


async def test_a_refused_chunk_stops_the_engine(house: House) -> None:
    script = Script()
    house.engine.then(script)
    house.server.on_events = Refuse("t1", "cancelled")
    async with house.linked():
        house.server.push(infer(streaming=True))
        script.say(delta("a"))
        await house.until_event(Stopped)
        assert house.engine.transport.open_now == 0


async def test_a_dropped_attempt_is_stopped_and_said(house: House) -> None:
    script = Script()
    house.engine.then(script)
    async with house.linked():
        house.server.push(infer(streaming=True))
        await script.asked.wait()
        house.server.on_register = drop_all
        house.server.cut_channel()
        await house.until_event(Stopped)
        assert house.engine.transport.open_now == 0


def drop_all(asked: RegisterRequest) -> RegisterReply:
    return reply_to(asked, drop=[(held.task_id, held.attempt) for held in asked.holding])


async def test_an_engine_that_is_down_at_start_is_waited_for_and_then_published(house: House) -> None:
    house.engine.up = False
    house.set(probe_s=0.01)
    async with house.linked():
        assert house.server.registrations[0].llms == []
        assert "waiting for the engine" in house.log.said
        house.engine.up = True
        await house.until_linked(2)
        assert [llm.name for llm in house.server.registrations[1].llms] == ["tiny@box"]


async def test_an_engine_that_goes_away_and_comes_back_is_said(house: House) -> None:
    house.set(probe_s=0.01)
    async with house.linked():
        house.engine.up = False
        gone = await house.until_event(LlmStatusChanged)
        house.engine.up = True
        back = await house.until_event(LlmStatusChanged, 2)
    assert gone == LlmStatusChanged(llm_name="tiny@box", status=LlmStatus.INACTIVE, slots=4, revision=1)
    assert back == LlmStatusChanged(llm_name="tiny@box", status=LlmStatus.ACTIVE, slots=4, revision=2)
    assert len(house.server.registrations) == 1


async def test_an_engine_that_is_away_is_said_before_the_failure_that_showed_it(house: House) -> None:
    async with house.linked():
        house.engine.up = False
        house.server.push(infer())
        await house.until_event(Failed)
    said = [type(event) for event in house.server.events]
    assert said.index(LlmStatusChanged) < said.index(Failed)


async def test_a_model_that_appears_is_published_by_registering_anew(house: House) -> None:
    house.set(probe_s=0.01)
    async with house.linked():
        house.engine.models = ["tiny", "new"]
        await house.until_linked(2)
        assert [llm.name for llm in house.server.registrations[1].llms] == ["tiny@box", "new@box"]


async def test_a_task_for_an_llm_that_is_not_published_is_given_back(house: House) -> None:
    async with house.linked():
        house.server.push(infer(llm_name="other@box"))
        assert await house.until_event(Returned) == Returned(task_id="t1", attempt=1)


async def test_the_run_limit_ends_an_attempt_as_engine_timeout(house: House) -> None:
    script = Script()
    house.engine.then(script)
    async with house.linked():
        house.server.push(infer(streaming=True, run_s=0.02))
        failed = await house.until_event(Failed)
        assert isinstance(failed, Failed)
        assert failed.code == "engine_timeout"
        assert house.engine.transport.open_now == 0


async def test_a_big_request_is_fetched_from_the_server(house: House) -> None:
    house.server.bodies["/api/v1/sessions/s/requests/t1"] = b'{"model":"tiny","big":true}'
    house.server.on_body = InTurn(nothing, TransportError("not now"), SessionInactive("register first"))
    async with house.linked():
        house.server.push(infer(request=None, request_url="/api/v1/sessions/s/requests/t1"))
        await house.until_event(Result)
    assert b'"big":true' in house.engine.requests[0].body


async def test_a_request_that_the_server_no_longer_gives_fails_the_attempt(house: House) -> None:
    house.server.on_body = Always(NotFound("no such task"))
    async with house.linked():
        house.server.push(infer(request=None, request_url="/gone"))
        failed = await house.until_event(Failed)
    assert isinstance(failed, Failed)
    assert "no such task" in failed.message


async def test_a_request_that_is_no_text_arrives_byte_for_byte(house: House) -> None:
    async with house.linked():
        house.server.push(
            infer(
                endpoint="audio",
                content_type="application/json",
                request=None,
                request_base64="eyJtb2RlbCI6InRpbnkifQ==",
            )
        )
        await house.until_event(Result)
    assert house.engine.requests[0].body == b'{"model":"tiny"}'


async def test_a_fault_of_the_worker_itself_ends_the_attempt(house: House) -> None:
    house.engine.then(Breaks(ZeroDivisionError()))
    async with house.linked():
        house.server.push(infer())
        failed = await house.until_event(Failed)
    assert isinstance(failed, Failed)
    assert failed.code == "internal"


async def test_a_started_stream_says_its_status_before_its_chunks(house: House) -> None:
    script = Script("text/event-stream; charset=utf-8")
    house.engine.then(script)
    async with house.linked():
        house.server.push(infer(streaming=True))
        started = await house.until_event(Started)
        script.say(FINISH, "[DONE]")
        await house.until_event(Result)
    assert started == Started(task_id="t1", attempt=1, status=200, content_type="text/event-stream; charset=utf-8")


async def test_an_engine_answer_passes_with_its_status(house: House) -> None:
    house.engine.then(Answer(b'{"error":{"message":"bad"}}', 400))
    async with house.linked():
        house.server.push(infer())
        result = await house.until_event(Result)
    assert isinstance(result, Result)
    assert (result.status, result.body) == (400, '{"error":{"message":"bad"}}')


async def test_an_answer_that_is_no_text_travels_as_base64(house: House) -> None:
    house.engine.then(Answer(b"\xff\xfe", headers={"content-type": "audio/wav"}))
    async with house.linked():
        house.server.push(infer())
        result = await house.until_event(Result)
    assert isinstance(result, Result)
    assert (result.body, result.body_base64, result.content_type) == (None, "//4=", "audio/wav")


async def test_a_stream_waits_while_the_outbox_is_full(house: House) -> None:
    house.set_outbox(waiting_chunks=2)
    script = Script()
    house.engine.then(script)
    house.server.on_events = InTurn(taken, LOST, LOST)
    async with house.linked():
        house.server.push(infer(streaming=True))
        script.say(delta("a"), delta("b"), delta("c"), FINISH, "[DONE]")
        result = await house.until_event(Result)
    assert isinstance(result, Result)
    assert result.last_seq == 4
