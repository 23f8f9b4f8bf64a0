"""Claims about the final body of streams of speech."""

import json

import pytest

from inferpool.core.assembly import assembler_for
from inferpool.core.task import Usage
from tests.core.assembling import body

ENDPOINTS = ["audio/transcriptions", "audio/translations", "audio/speech"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("as_bytes", [True, False])
def test_the_event_that_ends_the_stream_is_its_body(endpoint: str, *, as_bytes: bool) -> None:
    assembler = assembler_for(endpoint)
    assembler.add('{"type":"transcript.text.delta","delta":"hel"}')
    assembler.add('{"type":"transcript.text.delta","delta":7}')
    assembler.add('{"type":"transcript.text.delta","delta":"lo"}')
    assert (assembler.ended, body(assembler), assembler.usage) == (False, {"text": "hello"}, None)
    end = '{ "type":"transcript.text.done","text":"hello","usage":{"input_tokens":3,"output_tokens":1}}'
    assembler.add(end.encode() if as_bytes else end)
    assert (assembler.ended, assembler.body(), assembler.usage) == (True, end.encode(), Usage(3, 1))


def test_chat_like_chunks_are_read_too() -> None:
    assembler = assembler_for("audio/transcriptions")
    for delta, finish in (({"content": "a"}, None), ({"content": "b"}, None), (None, "stop")):
        assert not assembler.ended
        assembler.add(json.dumps({"choices": [{"delta": delta, "finish_reason": finish}]}))
    assembler.add('{"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":2}}')
    assert (assembler.ended, body(assembler), assembler.usage) == (True, {"text": "ab"}, Usage(2, 2))


@pytest.mark.parametrize("event", [{"type": "error", "message": "no memory"}, {"error": {"message": "no memory"}}])
def test_an_error_in_the_stream_is_told(event: object) -> None:
    assembler = assembler_for("audio/speech")
    assembler.add(json.dumps(event))
    assert assembler.error == "no memory"
