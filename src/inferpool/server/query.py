"""Reads the query string of a native route; a parameter that the route does not know is refused, not ignored."""

import math
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import parse_qsl

from inferpool.core.clock import Micros
from inferpool.core.errors import InvalidRequest, NotFound
from inferpool.server.request import Request
from inferpool.wire.tasks import from_rfc3339

LIMIT: Final = 100
"""Entries of a page, unless the caller says otherwise."""
LIMIT_MOST: Final = 1000
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


class Query:
    """The parameters of one request, several values each."""

    def __init__(self, request: Request, known: Collection[str] = ()) -> None:
        """Raises `InvalidRequest` for a parameter that is not in `known`."""
        self._values: dict[str, list[str]] = {}
        if not request.query:
            return
        for name, value in parse_qsl(request.query.decode("latin-1"), keep_blank_values=True):
            if name not in known:
                takes = f"takes {', '.join(sorted(known))}" if known else "takes no parameters"
                raise InvalidRequest(f"{request.path} {takes}, not {name!r}", param=name)
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        """The parameter, at most once, not empty."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1 or not values[0]:
            raise InvalidRequest(f"`{name}` is given once, with a value", param=name)
        return values[0]

    def texts(self, name: str) -> list[str]:
        """All values, also those in one parameter with commas between them."""
        return [part for value in self._values.get(name, ()) for part in value.split(",")]

    def limit(self) -> int:
        """How many entries a page has."""
        value = self.text("limit")
        if value is None:
            return LIMIT
        if not value.isascii() or not value.isdigit() or len(value) > 5 or not 1 <= int(value) <= LIMIT_MOST:
            raise InvalidRequest(f"`limit` is from 1 to {LIMIT_MOST}", param="limit")
        return int(value)

    def flag(self, name: str) -> bool:
        """A parameter that is `true` or `false`."""
        value = self.text(name)
        if value is None:
            return False
        if value not in _FLAGS:
            raise InvalidRequest(f"`{name}` is true or false", param=name)
        return _FLAGS[value]

    def seconds(self, name: str, most: float) -> float | None:
        """A duration from 0 to `most` seconds."""
        value = self.text(name)
        if value is None:
            return None
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds <= most:
            raise InvalidRequest(f"`{name}` is a number of seconds from 0 to {most:g}", param=name)
        return seconds

    def time(self, name: str) -> Micros | None:
        """A point in time."""
        value = self.text(name)
        if value is None:
            return None
        try:
            return from_rfc3339(value)
        except (ValueError, OverflowError) as error:
            raise InvalidRequest(f"`{name}` is an RFC 3339 time such as 2026-08-01T12:00:00Z", param=name) from error

    def cursor(self) -> str | None:
        """The `next_cursor` of an earlier page whose entries have ids."""
        value = self.text("cursor")
        if value is not None and not _UUID.fullmatch(value):
            raise InvalidRequest("`cursor` is the `next_cursor` of an earlier page", param="cursor")
        return value


def path_id(request: Request, name: str, kind: str) -> str:
    """The id in the path. Raises `NotFound` for what no id of ours looks like."""
    value = request.params[name].lower()
    if not _UUID.fullmatch(value):
        raise NotFound(f"there is no {kind} {request.params[name][:100]!r}")
    return value
