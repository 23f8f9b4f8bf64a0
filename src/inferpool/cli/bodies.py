"""Finds the words of an answer in an engine's bodies, its stream's payloads."""

import msgspec


class _Words(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    index: int = 0
    delta: _Words | None = None
    message: _Words | None = None
    text: str | None = None


class _Body(msgspec.Struct, frozen=True):
    choices: list[_Choice] = []


_decode = msgspec.json.Decoder(_Body).decode


def words_of(body: bytes | str) -> str | None:
    """The text of the first choice of a chat completion or completion, or of one chunk of it.

    Empty where there is none; None for a body of another kind.
    """
    try:
        choices = _decode(body).choices
    except msgspec.MsgspecError:
        return None
    return "".join(_words(choice) for choice in choices if choice.index == 0)


def _words(choice: _Choice) -> str:
    part = choice.delta or choice.message
    return choice.text or (part.content if part is not None else None) or ""
