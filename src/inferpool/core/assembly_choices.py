"""Assembles streamed chat completions, likewise plain completions, out of their choices' deltas.

Shapes: OpenAI's public API description (`chat.completion.chunk`, `text_completion`), with what vLLM, llama.cpp, Ollama,
SGLang add to it.
"""

from abc import abstractmethod
from typing import Final

import msgspec

from inferpool.core.assembler import Assembler, MalformedChunk, decode_chunk, error_text, usage_in
from inferpool.core.pieces import Fields, grow, grown
from inferpool.core.task import Usage

_STREAM_ONLY: Final = frozenset({"usage", "obfuscation"})
_decode: Final = msgspec.json.Decoder(dict[str, object]).decode
_encode: Final = msgspec.json.Encoder().encode


def _replace(fields: Fields, more: Fields) -> None:
    """The last value of each field wins; null is no value."""
    for key, value in more.items():
        if value is not None or key not in fields:
            fields[key] = value


class _Choice:
    """One choice of the answer while its pieces come."""

    __slots__ = ("delta", "fields", "logprobs", "text")

    def __init__(self) -> None:
        self.delta: Fields = {}
        self.text: list[str] = []
        self.fields: Fields = {}
        self.logprobs: Fields = {}

    @property
    def finished(self) -> bool:
        return bool(self.fields.get("finish_reason"))

    def add(self, choice: Fields) -> None:
        for key, value in choice.items():
            if value is None:
                self.fields.setdefault(key, None)
            elif key == "delta" and isinstance(value, dict):
                grow(self.delta, value)
            elif key == "text" and isinstance(value, str):
                self.text.append(value)
            elif key == "logprobs" and isinstance(value, dict):
                self._add_logprobs(value)
            else:
                self.fields[key] = value

    def _add_logprobs(self, logprobs: Fields) -> None:
        """Every list of a logprobs object has an entry a token: they just get longer."""
        self.fields["logprobs"] = self.logprobs
        for key, value in logprobs.items():
            have = self.logprobs.get(key)
            if isinstance(have, list) and isinstance(value, list):
                have.extend(value)
            elif value is not None or key not in self.logprobs:
                self.logprobs[key] = value

    def as_message(self, index: int) -> Fields:
        fields = {key: value for key, value in self.fields.items() if key != "delta"}
        return fields | {"index": index, "message": self._message()}

    def as_text(self, index: int) -> Fields:
        return self.fields | {"index": index, "text": "".join(self.text)}

    def _message(self) -> Fields:
        """The message: a role always, `content` always, null where tools are called without a word."""
        message: Fields = {"role": "assistant", "content": None}
        for key, value in self.delta.items():
            message[key] = grown(value)
        tools = message.get("tool_calls")
        if isinstance(tools, list):
            message["tool_calls"] = [{"type": "function", **tool} for tool in tools]
        if message["content"] == "" and (tools or message.get("function_call")):
            message["content"] = None
        return message


class ChoicesAssembler(Assembler):
    """What both endpoints share: fields of the whole answer, choices by index, the usage."""

    object_name: str

    def __init__(self) -> None:
        super().__init__()
        self._fields: Fields = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: object = None

    def add(self, payload: str | bytes) -> None:
        chunk = decode_chunk(_decode, payload)
        if chunk.get("error"):
            self.error = error_text(chunk["error"])
            return
        choices = chunk.pop("choices", None)
        _replace(self._fields, chunk)
        if chunk.get("usage") is not None:
            self._usage = chunk["usage"]
        if choices is not None:
            self._add_choices(choices)

    def _add_choices(self, choices: object) -> None:
        if not isinstance(choices, list):
            raise MalformedChunk("the engine streamed `choices` that are no list")
        for choice in choices:
            index = choice.get("index", 0) if isinstance(choice, dict) else None
            if not isinstance(index, int):
                raise MalformedChunk("the engine streamed a choice that is no object with a whole number as its index")
            gathered = self._choices.get(index)
            if gathered is None:
                gathered = self._choices[index] = _Choice()
            gathered.add(choice)

    def _complete(self) -> bool:
        return bool(self._choices) and all(choice.finished for choice in self._choices.values())

    @property
    def usage(self) -> Usage | None:
        return None if self._usage is None else usage_in(self._usage)

    def body(self) -> bytes:
        answer = {key: value for key, value in self._fields.items() if key not in _STREAM_ONLY}
        answer |= {
            "object": self.object_name,
            "choices": [self._choice(i, self._choices[i]) for i in sorted(self._choices)],
        }
        if self._usage is not None:
            answer["usage"] = self._usage
        return _encode(answer)

    @abstractmethod
    def _choice(self, index: int, choice: _Choice) -> Fields:
        """The finished choice as its endpoint shows it."""


class ChatAssembler(ChoicesAssembler):
    """`chat/completions`: chunks become one `chat.completion`."""

    object_name = "chat.completion"

    def _choice(self, index: int, choice: _Choice) -> Fields:
        return choice.as_message(index)


class CompletionsAssembler(ChoicesAssembler):
    """`completions`: chunks become one `text_completion`."""

    object_name = "text_completion"

    def _choice(self, index: int, choice: _Choice) -> Fields:
        return choice.as_text(index)
