"""What a prompt tells the scripted engine to do.

    say 50 words every 20 ms      the answer has 50 words, one each 20 ms (without `every`: at once)
    echo TEXT                     the answer is TEXT; stands last
    as NAME                       the words are `NAME-0 NAME-1 …` instead of bearing a mark of the whole prompt
    status 429 retry-after 3      an error with this status
    reset                         the connection is closed before any answer
    gate NAME, gate NAME after 3  waits, at the start or after 3 words, until the gate is opened
    hang after 3                  silent after 3 words, until released
    break after 3                 the connection is closed after 3 words
    no-done after 3               the stream ends cleanly after 3 words, without any end mark
    fail after 3                  an error inside the stream after 3 words
    times 2                       all faults above hit only the first 2 calls with this very prompt

A prompt may hold several, in any order, among other words. Without any it is `say 5 words`.
"""

import hashlib
import re
from typing import Final

import msgspec

WORDS: Final = 5

_PATTERNS: Final = {
    "words": r"\bsay (\d+) words?\b",
    "every_ms": r"\bevery (\d+) ms\b",
    "name": r"\bas ([\w-]+)",
    "status": r"\bstatus (\d{3})\b",
    "retry_after": r"\bretry-after (\S+)",
    "gate": r"\bgate ([\w-]+)",
    "gate_after": r"\bgate [\w-]+ after (\d+)\b",
    "hang_after": r"\bhang after (\d+)\b",
    "break_after": r"\bbreak after (\d+)\b",
    "end_after": r"\bno-done after (\d+)\b",
    "fail_after": r"\bfail after (\d+)\b",
    "times": r"\btimes (\d+)\b",
}
_ECHO: Final = re.compile(r"\becho (.*)", re.DOTALL)
_RESET: Final = re.compile(r"\breset\b")
_PIECE: Final = re.compile(r"\s*\S+|\s+\Z")


class Directive(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One prompt, read. Counts are words of the answer; None: it does not happen."""

    words: int = WORDS
    every_ms: int = 0
    name: str | None = None
    echo: str | None = None
    status: int = 200
    retry_after: str | None = None
    reset: bool = False
    gate: str | None = None
    gate_after: int = 0
    hang_after: int | None = None
    break_after: int | None = None
    end_after: int | None = None
    fail_after: int | None = None
    times: int | None = None


def read_directive(prompt: str) -> Directive:
    """What the prompt says."""
    echo = _ECHO.search(prompt)
    told = prompt if echo is None else prompt[: echo.start()]
    found = {name: re.search(pattern, told) for name, pattern in _PATTERNS.items()}
    values: dict[str, object] = {name: match[1] for name, match in found.items() if match is not None}
    values |= {"echo": None if echo is None else echo[1], "reset": _RESET.search(told) is not None}
    return msgspec.convert(values, Directive, strict=False)


def pieces_of(prompt: str) -> list[str]:
    """The answer to the prompt as it is streamed, a word a piece; the same prompt has the same answer, always."""
    directive = read_directive(prompt)
    if directive.echo is not None:
        return _PIECE.findall(directive.echo)
    mark = directive.name or hashlib.sha256(prompt.encode()).hexdigest()[:8]
    return [f"{' ' if place else ''}{mark}-{place}" for place in range(directive.words)]


def answer_to(prompt: str) -> str:
    """The whole text that the engine answers to the prompt when no fault hits."""
    return "".join(pieces_of(prompt))


def without_faults(directive: Directive) -> Directive:
    """The same with nothing but the answer and its pace."""
    return Directive(words=directive.words, every_ms=directive.every_ms, name=directive.name, echo=directive.echo)
