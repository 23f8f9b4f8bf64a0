"""What every call of the native API is made of: an answer decoded, a list read page by page."""

from collections.abc import AsyncIterator, Mapping
from typing import Final, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from inferpool.client.caller import ServerCaller
from inferpool.core.errors import ProtocolBroken
from inferpool.wire.registry import LlmList, PoolList, SessionList
from inferpool.wire.tasks import TaskList
from inferpool.wire.tokens import TokenList

ANSWER_S: Final = 15.0
_PAGE: Final = 1000

T = TypeVar("T")
L = TypeVar("L", TaskList, LlmList, PoolList, SessionList, TokenList)
Query: TypeAlias = Mapping[str, str | list[str] | None]


class Pages:
    """Reads what a server lists."""

    def __init__(self, caller: ServerCaller) -> None:
        self._caller = caller

    async def _pages(self, path: str, kind: type[L], query: Query, limit: int) -> AsyncIterator[L]:
        """The pages of a list until `limit` things have come."""
        cursor: str | None = None
        left = limit
        while left > 0:
            asked = {**query, "limit": str(min(left, _PAGE)), "cursor": cursor}
            given = {name: value for name, value in asked.items() if value}
            page = decoded(await self._get(f"{path}?{urlencode(given, doseq=True)}"), kind)
            yield page
            left -= len(page.data)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _get(self, path: str, timeout_s: float = ANSWER_S) -> bytes:
        return await self._caller.call(self._caller.request("GET", path, {}, b"", timeout_s, ANSWER_S))


def path_of(collection: str, name: str) -> str:
    """The path of one thing, whatever its name holds."""
    return f"{collection}/{quote(name, safe='')}"


def decoded(body: bytes, kind: type[T]) -> T:
    """The answer as a struct. Raises `ProtocolBroken`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise ProtocolBroken(f"this is not an inferpool server of this release: {error}") from error
