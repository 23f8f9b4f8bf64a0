"""Claims about the final body of streamed chat completions, of plain completions."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferpool.core.assembly import MalformedChunk, assembler_for
from inferpool.core.task import Usage
from tests.core.assembling import HEAD, assembled, body, choice, chunk

TEXT = st.text(min_size=1, max_size=40)


def message(events: Iterable[dict[str, object]]) -> object:
    """The message of the first choice that chat deltas make."""
    return choice(assembled("chat/completions", (chunk(event) for event in events)))["message"]


def test_a_chat_stream_becomes_one_chat_completion() -> None:
    answer = assembled(
        "chat/completions",
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, finish_reason="stop"),
            {**HEAD, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
        ],
    )
    assert answer == {
        **HEAD,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def test_an_answer_without_a_usage_has_none() -> None:
    assembler = assembler_for("chat/completions")
    assembler.add(json.dumps(chunk({"content": "x"})))
    assert (assembler.usage, "usage" in body(assembler)) == (None, False)


def test_the_usage_may_come_with_the_last_choice() -> None:
    assembler = assembler_for("chat/completions")
    last = chunk({}, finish_reason="stop") | {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    assembler.add(json.dumps(last))
    assembler.add(json.dumps(chunk({})))
    assert assembler.usage == Usage(3, 2)


def test_a_usage_that_cannot_be_counted_passes_through_uncounted() -> None:
    assembler = assembler_for("chat/completions")
    assembler.add(json.dumps({**HEAD, "choices": [], "usage": {"prompt_tokens": "many"}}))
    assert assembler.usage is None
    assert body(assembler)["usage"] == {"prompt_tokens": "many"}


def test_unknown_fields_survive_with_their_last_value() -> None:
    answer = assembled(
        "chat/completions",
        [
            {**HEAD, "system_fingerprint": "fp1", "service_tier": None, "obfuscation": "xx", "choices": []},
            {**HEAD, "system_fingerprint": "fp2", "timings": {"n": 1}, "kept": None}
            | chunk({"content": "a"}, stop_reason=7),
            {**HEAD, "system_fingerprint": None, "timings": {"n": 2}}
            | chunk({}, matched_stop="###", finish_reason="stop"),
        ],
    )
    assert answer["system_fingerprint"] == "fp2"
    assert (answer["service_tier"], answer["timings"], answer["kept"]) == (None, {"n": 2}, None)
    assert (choice(answer)["stop_reason"], choice(answer)["matched_stop"]) == (7, "###")
    assert "obfuscation" not in answer


def test_unknown_strings_of_a_delta_are_pieces_all_else_is_replaced() -> None:
    deltas: list[dict[str, object]] = [
        {"content": "", "thought": "I ", "score": 1, "flag": True, "parts": [1], "box": {"a": "x"}},
        {"content": "", "thought": "am", "score": 2, "flag": False, "parts": [2], "box": {"a": "y"}},
        {"thought": None, "score": None, "nothing": None},
    ]
    assert message(deltas) == {
        "role": "assistant",
        "content": "",
        "thought": "I am",
        "score": 2,
        "flag": False,
        "parts": [2],
        "box": {"a": "y"},
        "nothing": None,
    }


def test_a_role_that_comes_with_every_chunk_is_said_once() -> None:
    deltas: list[dict[str, object]] = [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert message([*deltas, {"role": ""}]) == {"role": "assistant", "content": "ab"}


def test_a_message_without_any_content_has_null_for_it() -> None:
    assert message([{"refusal": "I will "}, {"refusal": "not"}]) == {
        "role": "assistant",
        "content": None,
        "refusal": "I will not",
    }


def test_reasoning_is_put_together_like_content() -> None:
    deltas: list[dict[str, object]] = [
        {"reasoning_content": "Let me", "reasoning": "Let me"},
        {"reasoning_content": " think", "reasoning": " think"},
        {"content": "42"},
    ]
    assert message(deltas) == {
        "role": "assistant",
        "content": "42",
        "reasoning_content": "Let me think",
        "reasoning": "Let me think",
    }


def test_tool_calls_grow_by_their_index() -> None:
    calls: list[list[dict[str, object]]] = [
        [{"index": 1, "id": "c2", "type": "function", "function": {"name": "add", "arguments": ""}}],
        [{"index": 0, "id": "c1", "function": {"name": "now", "arguments": "{"}}],
        [
            {"index": 1, "id": "", "function": {"name": "", "arguments": '{"a":'}},
            {"index": 0, "function": {"arguments": "}"}},
        ],
        [{"index": 1, "function": {"arguments": "1}", "name": None}}],
    ]
    deltas: list[dict[str, object]] = [{"tool_calls": call} for call in calls]
    assert message([{"content": ""}, *deltas]) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"type": "function", "id": "c1", "function": {"name": "now", "arguments": "{}"}},
            {"type": "function", "id": "c2", "function": {"name": "add", "arguments": '{"a":1}'}},
        ],
    }


def test_tool_calls_without_an_index_are_told_apart_by_their_id() -> None:
    calls: list[dict[str, object]] = [
        {"id": "c1", "function": {"name": "a", "arguments": "{"}},
        {"function": {"arguments": "}"}},
        {"id": "c2", "function": {"name": "b", "arguments": "["}},
        {"id": "c2", "function": {"arguments": "]"}},
    ]
    made = message({"tool_calls": [call]} for call in calls)
    assert isinstance(made, dict)
    assert [(call["id"], call["function"]["arguments"]) for call in made["tool_calls"]] == [("c1", "{}"), ("c2", "[]")]


def test_a_tool_call_that_is_no_object_is_left_out() -> None:
    assert message([{"content": "x", "tool_calls": [None, 3]}]) == {
        "role": "assistant",
        "content": "x",
        "tool_calls": [],
    }


def test_the_older_function_call_grows_too() -> None:
    deltas: list[dict[str, object]] = [
        {"content": "", "function_call": {"name": "f", "arguments": "{"}},
        {"function_call": {"arguments": "}"}},
    ]
    assert message(deltas) == {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "f", "arguments": "{}"},
    }


def test_annotations_get_longer() -> None:
    made = message([{"content": "x", "annotations": [1]}, {"annotations": [2, 3]}])
    assert made == {"role": "assistant", "content": "x", "annotations": [1, 2, 3]}


def test_choices_are_kept_apart_in_the_order_of_their_index() -> None:
    answer = assembled(
        "chat/completions",
        [chunk({"content": text}, index) for index, text in [(2, "c"), (0, "a"), (1, "b"), (0, "A")]],
    )
    choices = answer["choices"]
    assert isinstance(choices, list)
    assert [(one["index"], one["message"]["content"]) for one in choices] == [(0, "aA"), (1, "b"), (2, "c")]


def test_logprobs_get_longer_token_by_token() -> None:
    logprobs: list[dict[str, object] | None] = [
        {"content": [{"token": "a", "logprob": -0.5}], "refusal": None},
        None,
        {"content": [{"token": "b", "logprob": -0.25}], "refusal": None},
        {"content": None, "refusal": []},
    ]
    answer = assembled("chat/completions", [chunk({"content": "x"}, logprobs=one) for one in logprobs])
    content = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -0.25}]
    assert choice(answer)["logprobs"] == {"content": content, "refusal": []}


@st.composite
def messages(draw: st.DrawFn) -> dict[str, object]:
    """A message as an engine would answer it unstreamed."""
    made: dict[str, object] = {"role": "assistant", "content": draw(st.none() | TEXT)}
    made |= {key: draw(TEXT) for key in draw(st.sets(st.sampled_from(["reasoning_content", "refusal", "novelty"])))}
    names = draw(st.lists(TEXT, max_size=3))
    if names:
        made["tool_calls"] = [
            {"type": "function", "id": f"call-{place}", "function": {"name": name, "arguments": draw(TEXT)}}
            for place, name in enumerate(names)
        ]
    return made


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """The text cut anywhere."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=5)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def streamed(draw: st.DrawFn, whole: dict[str, object]) -> list[dict[str, object]]:
    """The message as deltas: every string in pieces, the pieces of different strings mixed."""
    lines: list[list[dict[str, object]]] = []
    tools = whole.get("tool_calls", [])
    assert isinstance(tools, list)
    for key, value in whole.items():
        if isinstance(value, str) and key != "role":
            lines.append([{key: piece} for piece in draw(pieces(value))])
    for place, tool in enumerate(tools):
        opening = {"index": place, **tool, "function": {"name": tool["function"]["name"]}}
        more = [{"index": place, "function": {"arguments": one}} for one in draw(pieces(tool["function"]["arguments"]))]
        lines.append([{"tool_calls": [one]} for one in (opening, *more)])
    deltas: list[dict[str, object]] = [{"role": "assistant"}]
    while lines := [line for line in lines if line]:
        deltas.append(draw(st.sampled_from(lines)).pop(0))
    return deltas


@given(st.data())
def test_a_message_streamed_in_any_pieces_comes_together_again(data: st.DataObject) -> None:
    whole = data.draw(messages())
    assert message(data.draw(streamed(whole))) == whole


def test_a_completion_stream_becomes_one_text_completion() -> None:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    logprobs = [{"tokens": [word], "token_logprobs": [-1.0], "text_offset": [n]} for n, word in enumerate("ab")]
    events = [
        {**head, "choices": [{"index": 0, "text": "a", "logprobs": logprobs[0], "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "text": "b", "logprobs": logprobs[1], "finish_reason": "length"}]},
        {**head, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    ]
    assert assembled("completions", events) == {
        **head,
        "choices": [
            {
                "index": 0,
                "text": "ab",
                "logprobs": {"tokens": ["a", "b"], "token_logprobs": [-1.0, -1.0], "text_offset": [0, 1]},
                "finish_reason": "length",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }


def test_a_chat_stream_has_ended_when_every_choice_has_a_reason() -> None:
    assembler = assembler_for("chat/completions")
    seen = []
    for event in [chunk({"content": "a"}), chunk({}, 1, finish_reason="stop"), chunk({}, finish_reason="length")]:
        assembler.add(json.dumps(event))
        seen.append(assembler.ended)
    assert seen == [False, False, True]


def test_an_empty_reason_ends_nothing() -> None:
    assembler = assembler_for("chat/completions")
    assembler.add(json.dumps(chunk({"content": "a"}, finish_reason="")))
    assert not assembler.ended


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"message": "out of memory", "code": 500}, "out of memory"),
        ("boom", "boom"),
        ({"code": 7}, '{"code":7}'),
        ([1], "[1]"),
    ],
)
def test_an_error_inside_a_chat_stream_is_told_not_assembled(error: object, told: str) -> None:
    assembler = assembler_for("chat/completions")
    assembler.add(json.dumps({"error": error}))
    assert (assembler.error, assembler.ended, body(assembler)["choices"]) == (told, False, [])


def test_a_null_error_is_none() -> None:
    assembler = assembler_for("chat/completions")
    assembler.add(json.dumps(chunk({"content": "a"}) | {"error": None}))
    assert assembler.error is None
    assert choice(body(assembler))["message"] == {"role": "assistant", "content": "a"}


@pytest.mark.parametrize("choices", [{}, "x", [3], [None], [{"index": "0"}], [{"index": None}]])
def test_choices_that_cannot_be_told_apart_are_refused(choices: object) -> None:
    with pytest.raises(MalformedChunk):
        assembler_for("chat/completions").add(json.dumps({**HEAD, "choices": choices}))


@pytest.mark.parametrize("endpoint", ["chat/completions", "completions"])
def test_a_choice_with_fields_of_the_wrong_shape_still_makes_a_body(endpoint: str) -> None:
    odd = {"index": 0, "delta": 3, "text": 4, "logprobs": 5}
    answer = choice(assembled(endpoint, [{**HEAD, "choices": [odd]}]))
    assert answer["logprobs"] == 5
