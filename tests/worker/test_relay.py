"""What a relay makes of every kind of answer."""

import msgspec
import pytest

from inferpool.client.transport import TransportError
from inferpool.core.errors import Code, ProtocolBroken
from inferpool.core.task import Usage
from inferpool.worker.engine import Engine
from inferpool.worker.relay import Errand, Relay
from inferpool.worker.sink import EngineAnswer
from tests.worker.engine_peer import FINISH, USAGE, Answer, Breaks, EnginePeer, Script, delta
from tests.worker.parts import FixedClock

pytestmark = pytest.mark.anyio

ASKS = b'{"model":"pool","stream":true,"stream_options":{"include_usage":true},"messages":[]}'


class Basket:
    """A sink that keeps everything; `full` at each `room` until asked so often."""

    def __init__(self, full: int = 0) -> None:
        self.started: list[tuple[int, str]] = []
        self.chunks: list[str] = []
        self.answers: list[EngineAnswer] = []
        self.failures: list[tuple[Code, str]] = []
        self.waits = 0
        self._full = full

    def start(self, status: int, content_type: str) -> None:
        self.started.append((status, content_type))

    def chunk(self, data: str) -> None:
        self.chunks.append(data)

    @property
    def full(self) -> bool:
        return self.waits < self._full

    async def room(self) -> None:
        self.waits += 1

    def answer(self, answer: EngineAnswer) -> None:
        self.answers.append(answer)

    def fail(self, code: Code, message: str) -> None:
        self.failures.append((code, message))


class Counter:
    """One relay, one engine."""

    def __init__(self) -> None:
        self.peer = EnginePeer()
        self.engine = Engine(self.peer.transport, "http://engine:8000/v1/", "sk-key")

    async def run(
        self,
        basket: Basket,
        body: bytes = b'{"model":"pool"}',
        *,
        endpoint: str = "chat/completions",
        headers: dict[str, str] | None = None,
        streaming: bool = False,
        content_type: str = "application/json",
    ) -> Basket:
        errand = Errand(
            engine=self.engine,
            model="tiny",
            endpoint=endpoint,
            body=body,
            content_type=content_type,
            headers=headers or {},
            streaming=streaming,
        )
        await Relay(300.0, FixedClock()).run(errand, basket)
        return basket

    async def stream(self, *payloads: str, body: bytes = b'{"model":"pool","stream":true}') -> Basket:
        script = Script()
        script.say(*payloads)
        script.end()
        self.peer.then(script)
        return await self.run(Basket(), body, streaming=True)


async def test_only_the_model_is_spliced_and_headers_go_along_with_our_key() -> None:
    counter = Counter()
    body = b'{"temperature":1.50,  "model":"pool","x":"\\u00e9"}'
    await counter.run(Basket(), body, endpoint="messages", headers={"anthropic-version": "2023-06-01"})
    request = counter.peer.requests[0]
    assert request.url == "http://engine:8000/v1/messages"
    assert request.body == body.replace(b'"pool"', b'"tiny"')
    assert request.headers == {
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
        "authorization": "Bearer sk-key",
    }
    assert request.silence_s is None


async def test_the_model_of_a_form_is_spliced_and_its_file_stays() -> None:
    counter = Counter()
    form = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\npool\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n\xff\x00pool\r\n--b--\r\n'
    )
    kind = "multipart/form-data; boundary=b"
    await counter.run(Basket(), form, endpoint="audio/transcriptions", content_type=kind)
    request = counter.peer.requests[0]
    assert request.body == form.replace(b"\r\npool", b"\r\ntiny", 1)
    assert request.headers["content-type"] == kind


async def test_a_whole_answer_passes_byte_for_byte_with_its_usage() -> None:
    counter = Counter()
    body = b'{"id":"x",  "usage":{"prompt_tokens":3,"completion_tokens":4}}'
    counter.peer.then(Answer(body))
    basket = await counter.run(Basket())
    assert basket.answers == [
        EngineAnswer(
            status=200,
            content_type="application/json",
            body=body,
            usage=Usage(prompt_tokens=3, completion_tokens=4),
        )
    ]


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_error_passes_with_status_body_and_retry_after(streaming: bool) -> None:
    counter = Counter()
    counter.peer.then(Answer(b"busy", 429, {"retry-after": "7", "content-type": "text/plain"}))
    basket = await counter.run(Basket(), streaming=streaming)
    assert basket.answers == [EngineAnswer(status=429, content_type="text/plain", body=b"busy", retry_after_s=7.0)]
    assert basket.started == []


async def test_a_redirect_is_an_answer() -> None:
    counter = Counter()
    counter.peer.then(Answer(b"", 307, {"location": "http://elsewhere"}))
    assert [answer.status for answer in (await counter.run(Basket())).answers] == [307]


async def test_a_whole_answer_to_a_streaming_request_passes_as_it_is() -> None:
    counter = Counter()
    counter.peer.then(Answer(b'{"object":"chat.completion"}'))
    basket = await counter.run(Basket(), streaming=True)
    assert (basket.chunks, basket.answers[0].body) == ([], b'{"object":"chat.completion"}')


async def test_a_stream_passes_payload_by_payload_and_ends_in_the_assembled_body() -> None:
    counter = Counter()
    basket = await counter.stream(delta("Hel"), delta("lo"), FINISH, "[DONE]")
    assert basket.started == [(200, "text/event-stream")]
    assert basket.chunks == [delta("Hel"), delta("lo"), FINISH]
    answer = basket.answers[0]
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert msgspec.json.decode(answer.body)["choices"][0]["message"]["content"] == "Hello"
    assert counter.peer.requests[0].silence_s == 300.0


async def test_the_usage_that_only_we_asked_for_is_counted_but_not_shown() -> None:
    counter = Counter()
    basket = await counter.stream(delta("a"), FINISH, USAGE, "[DONE]")
    assert basket.chunks == [delta("a"), FINISH]
    assert basket.answers[0].usage == Usage(prompt_tokens=3, completion_tokens=5)
    asked = msgspec.json.decode(counter.peer.requests[0].body)
    assert asked["stream_options"] == {"include_usage": True}


async def test_the_usage_that_the_caller_asked_for_is_shown() -> None:
    counter = Counter()
    basket = await counter.stream(delta("a"), FINISH, USAGE, "[DONE]", body=ASKS)
    assert basket.chunks == [delta("a"), FINISH, USAGE]
    assert counter.peer.requests[0].body == ASKS.replace(b"pool", b"tiny")


async def test_a_finish_reason_is_an_end_mark() -> None:
    basket = await Counter().stream(delta("a"), FINISH)
    assert len(basket.answers) == 1


async def test_a_stream_without_its_end_mark_is_a_failure() -> None:
    basket = await Counter().stream(delta("a"))
    assert basket.answers == []
    assert basket.failures == [(Code.ENGINE_ERROR, "the engine's stream ended without its end mark")]


async def test_an_error_inside_a_stream_is_a_failure_and_no_chunk() -> None:
    basket = await Counter().stream(delta("a"), '{"error":{"message":"out of memory"}}', "[DONE]")
    assert basket.chunks == [delta("a")]
    assert basket.failures == [(Code.ENGINE_ERROR, "the engine broke off its stream: out of memory")]


async def test_a_stream_of_something_else_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolBroken):
        await Counter().stream("no json")


async def test_a_stream_that_breaks_off_before_its_end_is_raised() -> None:
    counter, script = Counter(), Script()
    counter.peer.then(script)
    script.say(delta("a"))
    script.break_off()
    basket = Basket()
    with pytest.raises(TransportError, match="reset by peer"):
        await counter.run(basket, streaming=True)
    assert basket.chunks == [delta("a")]
    assert basket.answers == []


@pytest.mark.parametrize("mark", [FINISH, "[DONE]"])
async def test_what_breaks_off_after_the_end_mark_is_whole(mark: str) -> None:
    counter, script = Counter(), Script()
    counter.peer.then(script)
    script.say(delta("a"), mark)
    script.break_off()
    basket = await counter.run(Basket(), streaming=True)
    assert len(basket.answers) == 1


async def test_the_answer_is_there_at_the_end_mark_and_the_rest_of_the_body_is_read_for_the_connection() -> None:
    counter, script = Counter(), Script()
    counter.peer.then(script)
    script.say(FINISH, "[DONE]")
    script.say("ignored")
    script.end()
    basket = await counter.run(Basket(), streaming=True)
    assert basket.chunks == [FINISH]
    assert script.closed.is_set()


async def test_a_full_sink_stops_the_reading() -> None:
    counter, script = Counter(), Script()
    counter.peer.then(script)
    script.say(delta("a"), delta("b"), FINISH)
    script.end()
    basket = await counter.run(Basket(full=2), streaming=True)
    assert basket.waits == 2


async def test_a_messages_stream_ends_with_its_own_mark() -> None:
    counter, script = Counter(), Script()
    counter.peer.then(script)
    script.say('{"type":"message_start","message":{"id":"m","content":[]}}', "", '{"type":"message_stop"}')
    script.end()
    basket = await counter.run(Basket(), endpoint="messages", streaming=True)
    assert len(basket.answers) == 1
    assert b"stream_options" not in counter.peer.requests[0].body


async def test_no_answer_at_all_is_raised() -> None:
    counter = Counter()
    counter.peer.then(Breaks(TransportError("connection refused")))
    with pytest.raises(TransportError, match="refused"):
        await counter.run(Basket())
