"""Writes JSON values as YAML 1.2, in the block style that people read."""

import json
import re
from collections.abc import Iterator
from typing import Final, TypeAlias

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

_PLAIN: Final = re.compile(r"[A-Za-z_/][\w ./@+-]*")
_WORDS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def dump(value: Json) -> str:
    """The value as a YAML document that ends in a line break."""
    return "\n".join(_lines(value, 0)) + "\n"


def _lines(value: Json, depth: int) -> Iterator[str]:
    pad = "  " * depth
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _entry(f"{pad}{_scalar(key)}:", inner, depth)
    elif isinstance(value, list) and value:
        for inner in value:
            first, *rest = _lines(inner, depth + 1)
            yield f"{pad}- {first.lstrip()}"
            yield from rest
    else:
        yield pad + _scalar(value)


def _entry(head: str, inner: Json, depth: int) -> Iterator[str]:
    if isinstance(inner, dict | list) and inner:
        yield head
        yield from _lines(inner, depth + 1)
    else:
        yield f"{head} {_scalar(inner)}"


def _scalar(value: Json) -> str:
    """A value in one line. JSON's form is YAML's too; a plain word needs no quotes."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS and not value.endswith(" "):
        return value
    return json.dumps(value, ensure_ascii=False)
