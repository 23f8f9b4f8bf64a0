"""Claims about what every assembler does, of any endpoint."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferpool.core.assembly import MalformedChunk, assembler_for, is_usage_chunk, usage_of
from inferpool.core.errors import ProtocolBroken
from inferpool.core.task import Usage
from tests.core.assembling import ENDPOINTS, body

TEXT = st.text(min_size=1, max_size=40)


@pytest.mark.parametrize("endpoint", [*ENDPOINTS, "novelty"])
def test_done_ends_every_stream(endpoint: str) -> None:
    assembler = assembler_for(endpoint)
    assert not assembler.ended
    assembler.done()
    assert assembler.ended


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    "payload", ["", "nonsense", "[]", "3", '{"a":', b"\xff", '{"a":"\\ud800"}', '{"a":' * 100_000, "\ud800"]
)
def test_what_is_no_json_object_is_refused(endpoint: str, payload: str | bytes) -> None:
    with pytest.raises(MalformedChunk) as refused:
        assembler_for(endpoint).add(payload)
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, ProtocolBroken)


def test_an_unknown_endpoint_keeps_its_last_payload() -> None:
    assembler = assembler_for("novelty")
    assembler.add("first")
    assembler.add('{"usage":{"prompt_tokens":1}}')
    assert (assembler.body(), assembler.usage) == (b'{"usage":{"prompt_tokens":1}}', Usage(1, 0))
    assembler.add(b"last")
    assert (assembler.body(), assembler.usage) == (b"last", None)


@pytest.mark.parametrize(
    ("written", "usage"),
    [
        (b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}', Usage(3, 4)),
        (b'{"usage":{"input_tokens":3,"output_tokens":4}}', Usage(3, 4)),
        (b'{"usage":{"prompt_tokens":3,"total_tokens":3}}', Usage(3, 0)),
        (b'{"usage":{"completion_tokens":3}}', Usage(0, 3)),
        (b'{"usage":{"prompt_tokens":0,"input_tokens":9}}', Usage(0, 0)),
        (b'{"usage":{}}', None),
        (b'{"usage":null}', None),
        (b'{"usage":{"prompt_tokens":-1}}', None),
        (b'{"usage":{"prompt_tokens":99999999999999999999}}', None),
        (b"{}", None),
        (b"[]", None),
        (b"", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_usage_of_a_body_is_what_it_counts(written: bytes, usage: Usage | None) -> None:
    assert usage_of(written) == usage


@pytest.mark.parametrize(
    ("payload", "extra"),
    [
        ('{"id":"x","choices":[],"usage":{"prompt_tokens":3}}', True),
        ('{"id":"x","choices" : [ ] ,"usage":{"prompt_tokens":3}}', True),
        ('{"id":"x","choices":[],"usage":null}', False),
        ('{"id":"x","choices":[]}', False),
        ('{"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":3}}', False),
        ('{"choices":[{"index":0,"delta":{"x":{"choices":[]}}}],"usage":{"prompt_tokens":3}}', False),
        ('{"text":"\\"choices\\":[]","usage":{"prompt_tokens":3}}', False),
        ('{"x":{"choices":[]},"usage":{"prompt_tokens":3}}', False),
        ('{"choices":[]', False),
        ("[DONE]", False),
    ],
)
def test_only_a_chunk_with_a_usage_without_choices_is_the_extra_one(payload: str, *, extra: bool) -> None:
    assert is_usage_chunk(payload) is extra


@given(
    st.dictionaries(
        st.sampled_from(["id", "choices", "usage", "error", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | TEXT,
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["index", "delta", "tool_calls", "function", "logprobs", "text", "id"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ),
    )
)
def test_no_object_of_an_engine_breaks_the_assembler(event: dict[str, object]) -> None:
    for endpoint in ENDPOINTS:
        assembler = assembler_for(endpoint)
        try:
            assembler.add(msgspec.json.encode(event))
        except MalformedChunk:
            continue
        assert isinstance(body(assembler), dict)
