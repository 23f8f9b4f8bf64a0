"""The named statements of a dialect, as its .sql files hold them."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

_MARK: Final = "-- name: "


class Statement(Generic[T]):
    """A named statement that returns rows: its columns are the fields of `row`, in their order.

    `json` names the columns that hold JSON text.
    """

    __slots__ = ("_fields", "_json", "_row", "name")

    def __init__(self, name: str, row: type[T], json: tuple[str, ...] = ()) -> None:
        self.name = name
        self._row = row
        self._json = json
        self._fields = row.__struct_fields__

    def decode(self, values: tuple[object, ...]) -> T:
        """One returned row; flags may come as 0 or 1."""
        fields = dict(zip(self._fields, values, strict=True))
        for name in self._json:
            text = fields[name]
            if isinstance(text, str):
                fields[name] = msgspec.json.decode(text)
        return msgspec.convert(fields, self._row, strict=False)


@cache
def load_statements(dialect: str) -> dict[str, str]:
    """Every statement of `store/sql/DIALECT/*.sql` by its name.

    A line `-- name: NAME` begins one; the comment lines, which state its lock or invariant, are left out.
    """
    folder = files("inferpool.store") / "sql" / dialect
    texts = [entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".sql")]
    sections = [section for text in texts for section in text.split(_MARK)[1:]]
    return dict(_named(section) for section in sections)


def json_text(value: dict[str, str] | Sequence[str]) -> str:
    """A parameter of JSON text."""
    return msgspec.json.encode(value).decode()


def _named(section: str) -> tuple[str, str]:
    name, _, body = section.partition("\n")
    lines = [line for line in body.strip().splitlines() if not line.startswith("--")]
    return name.strip(), "\n".join(lines)
