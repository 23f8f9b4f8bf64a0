"""How the pieces of a streamed message grow together, field by field.

Most fields of a delta are pieces of a longer string. The exceptions have names: fields that come whole, objects that
have pieces inside, lists whose entries are told apart by `index`, lists that just get longer. A field that is none of
them, nor a string, is replaced by its last value; null never replaces anything.
"""

from typing import Final, TypeAlias

Fields: TypeAlias = dict[str, object]

_WHOLE: Final = frozenset({"role", "id", "type", "name", "index", "format", "expires_at"})
_NESTED: Final = frozenset({"function", "function_call", "custom", "audio"})
_INDEXED: Final = frozenset({"tool_calls", "reasoning_details"})
_LONGER: Final = frozenset({"annotations", "citations"})


class _Object(dict[str, object]):
    """An object that has pieces inside."""

    __slots__ = ()


class _Text(list[str]):
    """A string whose pieces are still coming."""

    __slots__ = ()


class _Entries(dict[int, _Object]):
    """A list whose entries come in pieces, each under its `index`."""

    __slots__ = ()


def grow(whole: Fields, delta: Fields) -> None:
    """Add the pieces of `delta` to `whole`, which is to be read by `grown` only."""
    for key, value in delta.items():
        if type(value) is str and key not in _WHOLE:
            text = whole.get(key)
            if type(text) is _Text:
                text.append(value)
            else:
                whole[key] = _Text((value,))
        elif value is None:
            whole.setdefault(key, None)
        else:
            _grow_other(whole, key, value)


def _grow_other(whole: Fields, key: str, value: object) -> None:
    have = whole.get(key)
    if isinstance(value, dict) and key in _NESTED:
        if not isinstance(have, _Object):
            have = whole[key] = _Object()
        grow(have, value)
    elif isinstance(value, list) and key in _INDEXED:
        if not isinstance(have, _Entries):
            have = whole[key] = _Entries()
        _grow_entries(have, value)
    elif isinstance(value, list) and key in _LONGER and isinstance(have, list):
        have.extend(value)
    elif value != "" or not have:
        # Engines repeat an id or a name as "" where they have said it before.
        whole[key] = value


def _grow_entries(entries: _Entries, deltas: list[object]) -> None:
    for delta in deltas:
        if isinstance(delta, dict):
            grow(entries.setdefault(_index(entries, delta), _Object()), delta)


def _index(entries: _Entries, delta: Fields) -> int:
    """Where the delta belongs; without an index, a new id opens an entry, all else goes on with the last."""
    index = delta.get("index")
    if isinstance(index, int):
        return index
    if not entries:
        return 0
    last = max(entries)
    opened = entries[last].get("id")
    return last + 1 if opened and delta.get("id") not in (None, "", opened) else last


def grown(value: object) -> object:
    """The JSON value that grew under one field; entries lose the `index` that only a stream needs."""
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, _Entries):
        return [{key: grown(part) for key, part in value[index].items() if key != "index"} for index in sorted(value)]
    if isinstance(value, _Object):
        return {key: grown(part) for key, part in value.items()}
    return value
