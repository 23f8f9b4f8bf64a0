"""Claims about the final body of streams of typed events."""

import json

import pytest

from inferpool.core.assembly import assembler_for
from inferpool.core.task import Usage
from tests.core.assembling import assembled


@pytest.mark.parametrize("kind", ["response.completed", "response.failed", "response.incomplete"])
def test_the_terminal_event_of_a_response_carries_the_body_byte_for_byte(kind: str) -> None:
    written = '{ "id":"resp_1", "output":[1.50], "usage":{"input_tokens":4,"output_tokens":6}}'
    assembler = assembler_for("responses")
    assembler.add('{"type":"response.created","response":{"id":"resp_1"}}')
    assert (assembler.ended, assembler.body(), assembler.usage) == (False, b'{"id":"resp_1"}', None)
    assembler.add('{"type":"response.output_text.delta","delta":"x","response":null}')
    assembler.add(f'{{"type":"{kind}","response":{written}}}'.encode())
    assert (assembler.ended, assembler.body(), assembler.usage) == (True, written.encode(), Usage(4, 6))


@pytest.mark.parametrize("event", [{"type": "error", "message": "no memory"}, {"error": {"message": "no memory"}}])
def test_an_error_event_of_a_response_is_told(event: object) -> None:
    assembler = assembler_for("responses")
    assembler.add(json.dumps(event))
    assert assembler.error == "no memory"


def block(index: int, opening: dict[str, object], *deltas: dict[str, object]) -> list[dict[str, object]]:
    """The events of one content block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": opening},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def anthropic(*blocks: list[dict[str, object]]) -> list[dict[str, object]]:
    """A whole stream of Anthropic's."""
    start: dict[str, object] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
    }
    usage = {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 0}
    return [
        {"type": "message_start", "message": {**start, "usage": usage}},
        {"type": "ping"},
        *(event for one in blocks for event in one),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 15, "input_tokens": None, "server_tool_use": None},
        },
        {"type": "message_stop"},
    ]


def content(*blocks: list[dict[str, object]]) -> object:
    return assembled("messages", anthropic(*blocks))["content"]


def test_a_messages_stream_becomes_one_message() -> None:
    text = block(
        0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi "}, {"type": "text_delta", "text": "you"}
    )
    assert assembled("messages", anthropic(text)) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hi you"}],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 15, "cache_read_input_tokens": 0, "server_tool_use": None},
    }


def test_thinking_grows_with_its_signature() -> None:
    deltas: list[dict[str, object]] = [
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "thinking_delta", "thinking": "m"},
        {"type": "signature_delta", "signature": "Eq"},
    ]
    thinking = block(0, {"type": "thinking", "thinking": "", "signature": ""}, *deltas)
    assert content(thinking) == [{"type": "thinking", "thinking": "hmm", "signature": "Eq"}]


def test_the_input_of_a_tool_is_parsed_when_it_is_whole() -> None:
    opening: dict[str, object] = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}
    deltas: list[dict[str, object]] = [
        {"type": "input_json_delta", "partial_json": part} for part in ("", '{"a"', ":1}")
    ]
    whole = block(0, opening, *deltas)
    empty = block(1, opening, {"type": "input_json_delta", "partial_json": ""})
    cut = block(2, opening, {"type": "input_json_delta", "partial_json": '{"a":'})
    assert content(whole, empty, cut) == [{**opening, "input": {"a": 1}}, opening, {**opening, "input": '{"a":'}]


def test_citations_get_longer() -> None:
    deltas: list[dict[str, object]] = [{"type": "citations_delta", "citation": {"n": n}} for n in (1, 2)]
    assert content(block(0, {"type": "text", "text": "x", "citations": None}, *deltas)) == [
        {"type": "text", "text": "x", "citations": [{"n": 1}, {"n": 2}]}
    ]


def test_blocks_stand_in_the_order_of_their_index_even_unopened() -> None:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
    assert content(block(1, {"type": "text", "text": "b"}), [delta]) == [{"text": "a"}, {"type": "text", "text": "b"}]


def test_events_without_their_fields_change_nothing() -> None:
    kinds = ["message_start", "content_block_start", "content_block_delta", "message_delta", "novelty"]
    assert assembled("messages", [{"type": kind} for kind in kinds]) == {"content": [{}]}


def test_a_message_without_a_usage_counts_nothing() -> None:
    assert assembler_for("messages").usage is None


def test_an_error_event_of_a_message_is_told() -> None:
    assembler = assembler_for("messages")
    assembler.add('{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
    assert assembler.error == "Overloaded"


def test_a_message_counts_its_tokens() -> None:
    assembler = assembler_for("messages")
    for event in anthropic():
        assembler.add(json.dumps(event))
    assert assembler.usage == Usage(9, 15)


def test_a_messages_stream_has_ended_at_its_message_stop() -> None:
    assembler = assembler_for("messages")
    seen = []
    for event in anthropic():
        assembler.add(json.dumps(event))
        seen.append(assembler.ended)
    assert seen == [False, False, False, True]
