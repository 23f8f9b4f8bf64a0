"""What the tests of assembling share: streams written short."""

import json
from collections.abc import Iterable

from inferpool.core.assembly import Assembler, assembler_for

HEAD = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1764000000, "model": "qwen"}
ENDPOINTS = ["chat/completions", "completions", "responses", "messages", "audio/transcriptions"]


def assembled(endpoint: str, events: Iterable[object]) -> dict[str, object]:
    """The body that grows from the events."""
    assembler = assembler_for(endpoint)
    for event in events:
        assembler.add(json.dumps(event, ensure_ascii=False))
    return body(assembler)


def body(assembler: Assembler) -> dict[str, object]:
    decoded = json.loads(assembler.body())
    assert isinstance(decoded, dict)
    return decoded


def chunk(delta: dict[str, object], index: int = 0, **fields: object) -> dict[str, object]:
    """A chat chunk with one choice."""
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": None, **fields}], "usage": None}


def choice(answer: dict[str, object]) -> dict[str, object]:
    choices = answer["choices"]
    assert isinstance(choices, list)
    first = choices[0]
    assert isinstance(first, dict)
    return first
