"""Claims about what is read of an OpenAI call, how its stream is framed."""

import msgspec
import pytest

from inferpool.core.errors import InvalidRequest
from inferpool.core.task import QueueMode
from inferpool.wire import openai
from inferpool.wire.openai import CallHeaders, ResponsesBody, read_body, read_form_body, read_headers

CHAT = "chat/completions"


def body(**fields: object) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})


def refusal(given: bytes, endpoint: str = CHAT) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read_body(endpoint, given)
    return caught.value


def test_a_plain_call_needs_a_model_with_messages_only() -> None:
    call = read_body(CHAT, body())
    assert (call.model, call.streaming, call.priority, call.labels) == ("m", False, "default", {})


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
    assert read_body(CHAT, body(metadata=metadata)).labels == metadata


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
        (b'{"messages": []}', "`model` is missing"),
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
    assert read_body("new/one", b'{"model":"r","metadata":7}').labels == {}


def test_a_body_whose_address_names_the_llm_needs_no_model() -> None:
    assert read_body(CHAT, b'{"messages":[]}', named=True).model == ""


def test_anthropics_metadata_is_the_engines_business() -> None:
    call = read_body("messages", body(metadata={"user_id": None}, service_tier="standard_only"))
    assert (call.labels, call.priority, call.background) == ({}, "default", False)
    assert refusal(b'{"model":"m"}', "messages/count_tokens").param == "messages"


def test_a_response_in_the_background_runs_on_without_its_caller() -> None:
    call = read_body("responses", b'{"model":"m","background":true,"metadata":{"a":"b"}}')
    assert isinstance(call, ResponsesBody)
    assert (call.background, call.labels) == (True, {"a": "b"})
    assert not read_body("responses", b'{"model":"m"}').background


@pytest.mark.parametrize(("form", "streaming"), [("sse", True), ("audio", False), (None, False)])
def test_speech_streams_as_events_alone(form: str | None, streaming: bool) -> None:
    assert read_body("audio/speech", msgspec.json.encode({"model": "m", "stream_format": form})).streaming is streaming


@pytest.mark.parametrize("given", [b'{"model":"m","messages":["\xff"]}', b'{"model":"m","messages":["\xed\xa0\xbd"]}'])
def test_a_body_that_is_no_utf8_says_where(given: bytes) -> None:
    assert "byte 26 is wrong" in refusal(given).message
    assert read_body(CHAT, b'{"model":"m","messages":["\xc3\xa9"]}').model == "m"


def form(*parts: tuple[str, bytes]) -> bytes:
    fields = [b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (n.encode(), v) for n, v in parts]
    return b"".join(fields) + b"--x--\r\n"


FORM = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(("said", "streaming"), [(b"true", True), (b"True", True), (b"false", False), (b"0", False)])
def test_a_form_tells_its_model_with_its_stream(said: bytes, streaming: bool) -> None:
    call = read_form_body(form(("file", b"\xff\0"), ("model", b"whisper"), ("stream", said)), FORM)
    assert (call.model, call.streaming) == ("whisper", streaming)


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([("file", b"")], "model"),
        ([("model", b"")], "model"),
        ([("model", b"m"), ("stream", b"yes")], "stream"),
    ],
)
def test_a_wrong_field_of_a_form_is_named(parts: list[tuple[str, bytes]], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_form_body(form(*parts), FORM)
    assert caught.value.param == param


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


def test_a_keep_alive_comment_has_no_blank_line() -> None:
    assert openai.PING == b": ping\n"
