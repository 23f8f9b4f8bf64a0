"""The dialects of the APIs under `/v1/`: how their streams are framed, which words their errors use.

OpenAI's chat completions with its siblings sends bare `data:` lines up to `[DONE]`. Its Responses, like Anthropic's Messages,
names each event after the payload's `type` and has end events of its own. Sources: OpenAI's public API description,
Anthropic's pages on streaming and on errors, the official clients of both.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from inferpool.wire.sse import data_frame, typed_frame

DONE: Final = data_frame("[DONE]")
"""The end of a whole answer; without it OpenAI's clients stop in silence."""


class Dialect(StrEnum):
    """How an endpoint speaks."""

    OPENAI = "openai"
    RESPONSES = "responses"
    MESSAGES = "messages"

    @property
    def end(self) -> bytes:
        """What follows the last chunk of a whole answer."""
        return DONE if self is Dialect.OPENAI else b""


_DIALECTS: Final = {"responses": Dialect.RESPONSES, "messages": Dialect.MESSAGES}


def dialect_of(endpoint: str) -> Dialect:
    """The dialect of an endpoint such as `messages/count_tokens`."""
    return _DIALECTS.get(endpoint.partition("/")[0], Dialect.OPENAI)


def frame_payloads(dialect: Dialect, payloads: Sequence[str]) -> bytes:
    """The payloads as server-sent events, framed anew: what an engine put inside one cannot become a line of its own."""
    if dialect is not Dialect.OPENAI:
        return b"".join([typed_frame(payload) for payload in payloads])
    text = "\n\ndata: ".join(payloads)
    if "\r" in text or text.count("\n") != 2 * (len(payloads) - 1):
        return b"".join([data_frame(payload) for payload in payloads])
    return f"data: {text}\n\n".encode()
