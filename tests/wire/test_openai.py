"""Claims about what is read of an OpenAI call, how its stream is framed."""

import msgspec
import pytest

from inferpool.core.errors import InvalidRequest
from inferpool.core.task import QueueMode
from inferpool.wire import openai
from inferpool.wire.openai import CallHeaders, frame_chunks, read_body, read_headers

CHAT = "chat/completions"


def body(**fields: object) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})


def refusal(given: bytes, endpoint: str = CHAT) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read_body(endpoint, given)
    return caught.value


def test_a_plain_call_needs_a_model_with_messages_only() -> None:
    call = read_body(CHAT, body())
    assert (call.model, call.streaming, call.priority, call.metadata) == ("m", False, "default", None)


def test_fields_that_the_queue_does_not_know_are_the_engines_business() -> None:
    assert read_body(CHAT, body(temperature="hot", tools=7, user=["x"])).model == "m"


@pytest.mark.parametrize(("stream", "streaming"), [(True, True), (False, False), (None, False)])
def test_a_stream_is_asked_for_by_true_alone(stream: bool | None, streaming: bool) -> None:
    assert read_body(CHAT, body(stream=stream)).streaming is streaming


@pytest.mark.parametrize(
    ("tier", "priority"),
    [("priority", "priority"), ("flex", "flex"), ("batch", "batch"), ("auto", "default"), (None, "default")],
)
def test_the_service_tier_names_the_class(tier: str | None, priority: str) -> None:
    assert read_body(CHAT, body(service_tier=tier)).priority == priority


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 1}, "model"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": "hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"service_tier": 3}, "service_tier"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"k": 1}}, "metadata[...]"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, "metadata"),
        ({"metadata": {"": "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], param: str) -> None:
    assert refusal(body(**fields)).param == param


def test_metadata_up_to_its_limits_is_taken() -> None:
    metadata = {str(n).zfill(64): "v" * 512 for n in range(16)}
    assert read_body(CHAT, body(metadata=metadata)).metadata == metadata


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b'{"model": "m", }', "byte"),
        (b"nonsense", "byte"),
        (b'{"model": "m", "messages": []} tail', "trailing"),
        (b"[]", "Expected `object`"),
        (b'"text"', "Expected `object`"),
        (b"null", "Expected `object`"),
        (b'{"messages": []}', "missing required field `model`"),
        (b'{"model": "m"}', "missing required field `messages`"),
    ],
)
def test_a_body_that_is_no_call_says_where(given: bytes, said: str) -> None:
    assert said in refusal(given).message


def test_a_body_nested_too_deeply_is_refused() -> None:
    deep = b'{"model":"m","messages":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}"
    assert "nested too deeply" in refusal(deep).message


def test_a_body_with_two_models_is_refused() -> None:
    assert refusal(b'{"model":"a","messages":[],"model":"b"}').param == "model"


def test_an_endpoint_without_a_line_in_the_table_asks_for_a_model_only() -> None:
    assert read_body("rerank", b'{"model":"r"}').model == "r"


# ---- headers ----------------------------------------------------------------------------------------------------------


def test_without_headers_a_call_queues_for_whom_it_may_concern() -> None:
    assert read_headers({b"host": b"localhost"}) == CallHeaders(
        mode=QueueMode.WAIT, pin=False, persist=False, idempotency_key=None, patience=None
    )


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        (b"inferpool-queue", b"wait", CallHeaders(mode=QueueMode.WAIT)),
        (b"inferpool-queue", b"LIVE", CallHeaders(mode=QueueMode.LIVE)),
        (b"inferpool-queue", b" never ", CallHeaders(mode=QueueMode.NEVER)),
        (b"inferpool-pin", b"true", CallHeaders(pin=True)),
        (b"inferpool-pin", b"False", CallHeaders(pin=False)),
        (b"inferpool-on-disconnect", b"continue", CallHeaders(persist=True)),
        (b"inferpool-on-disconnect", b"cancel", CallHeaders(persist=False)),
        (b"idempotency-key", b"k" * 255, CallHeaders(idempotency_key="k" * 255)),
        (b"x-stainless-read-timeout", b"600", CallHeaders(patience=600_000_000)),
        (b"x-stainless-timeout", b"0.5", CallHeaders(patience=500_000)),
        (b"x-stainless-timeout", b"1e300", CallHeaders(patience=10**15)),
    ],
)
def test_a_header_says_how_the_call_is_treated(name: bytes, value: bytes, read: CallHeaders) -> None:
    assert read_headers({name: value}) == read


def test_the_read_timeout_is_the_one_that_counts() -> None:
    headers = {b"x-stainless-timeout": b"900", b"x-stainless-read-timeout": b"30"}
    assert read_headers(headers).patience == 30_000_000


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        (b"inferpool-queue", b"soon", "Inferpool-Queue"),
        (b"inferpool-queue", b"", "Inferpool-Queue"),
        (b"inferpool-pin", b"1", "Inferpool-Pin"),
        (b"inferpool-on-disconnect", b"stop", "Inferpool-On-Disconnect"),
        (b"idempotency-key", b"", "Idempotency-Key"),
        (b"idempotency-key", b"k" * 256, "Idempotency-Key"),
        (b"idempotency-key", b"k\xe9", "Idempotency-Key"),
        (b"idempotency-key", b"a\tb", "Idempotency-Key"),
        (b"x-stainless-read-timeout", b"soon", "x-stainless-read-timeout"),
        (b"x-stainless-read-timeout", b"0", "x-stainless-read-timeout"),
        (b"x-stainless-timeout", b"-1", "x-stainless-timeout"),
        (b"x-stainless-timeout", b"nan", "x-stainless-timeout"),
        (b"x-stainless-timeout", b"inf", "x-stainless-timeout"),
    ],
)
def test_a_wrong_header_is_named(name: bytes, value: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_headers({name: value})
    assert caught.value.param == param


# ---- streams ----------------------------------------------------------------------------------------------------------


def test_chunks_are_framed_one_by_one() -> None:
    assert frame_chunks(['{"a":1}', '{"b":2}']) == b'data: {"a":1}\n\ndata: {"b":2}\n\n'


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
def test_an_engine_cannot_inject_a_line_of_its_own(line_end: str) -> None:
    framed = frame_chunks(["a" + line_end + "event: x", "b"])
    assert framed == b"data: a\ndata: event: x\n\ndata: b\n\n"


def test_an_empty_line_inside_a_payload_does_not_end_the_event() -> None:
    assert frame_chunks(["a\n\nb"]) == b"data: a\ndata: \ndata: b\n\n"


def test_a_keep_alive_comment_has_no_blank_line() -> None:
    assert openai.PING == b": ping\n"
