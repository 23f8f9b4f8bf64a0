"""Carries hints between the servers of one database; a server on an SQLite file is alone, so that its bus stands still.

The row is the truth, a hint saves waiting: whatever is lost here costs a poll (design section 7). Nothing is sent inside a data
transaction; what piles up while a sending is under way is the next one.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from inferpool.core.errors import StoreUnavailable
from inferpool.core.failpoints import reach
from inferpool.core.ids import ServerId
from inferpool.dispatch.background import Background, Log
from inferpool.dispatch.notes import AnyMessage, Packer, Unpacker
from inferpool.store.servers_protocol import Note, Signals

_EVERYBODY: Final = "inferpool"

Letter: TypeAlias = tuple[ServerId | None, AnyMessage]
"""To whom (None: to every server) what is told."""


class Bus:
    """One server's way to the others."""

    def __init__(self, signals: Signals | None, server_id: ServerId, log: Log) -> None:
        self._signals = signals
        self._server_id = server_id
        self._log = log
        self._packer = Packer(server_id)
        self._unpacker = Unpacker()
        self._wanted = asyncio.Event()
        self._failing = False
        self._collect: Callable[[], Iterable[Letter]] = list
        self._hear: Callable[[ServerId, AnyMessage], None] | None = None
        self._linked: Callable[[], None] | None = None

    @property
    def alone(self) -> bool:
        """Whether there can be no other server."""
        return self._signals is None

    def join(
        self,
        collect: Callable[[], Iterable[Letter]],
        hear: Callable[[ServerId, AnyMessage], None],
        linked: Callable[[], None],
    ) -> None:
        """`collect` is asked for what is to be told, `hear` is told what others say, `linked` that some of it may be lost."""
        self._collect, self._hear, self._linked = collect, hear, linked

    def wake(self) -> None:
        """There is something to tell."""
        self._wanted.set()

    def start(self, background: Background) -> None:
        """Begin to hear, to tell."""
        if self._signals is not None:
            background.spawn(self._send(self._signals), "bus out")
            background.spawn(self._listen(self._signals), "bus in")

    async def _send(self, signals: Signals) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._send_all(signals)

    async def _send_all(self, signals: Signals) -> None:
        letters: dict[str, list[AnyMessage]] = {}
        for to, message in self._collect():
            letters.setdefault(_channel(to), []).append(message)
        notes = [Note(to, text) for to, messages in letters.items() for text in self._packer.pack(messages)]
        if not notes:
            return
        reach("bus.before_send")
        try:
            await signals.send(notes)
        except StoreUnavailable as error:
            self._say_failing(error)
        else:
            self._failing = False

    def _say_failing(self, error: StoreUnavailable) -> None:
        if not self._failing:
            self._log.warning("other servers hear nothing for now: they find by their polls", reason=error.message)
        self._failing = True

    async def _listen(self, signals: Signals) -> None:
        await signals.listen([_EVERYBODY, _channel(self._server_id)], self._take, self._begin)

    def _begin(self) -> None:
        if self._linked is not None:
            self._linked()

    def _take(self, text: str) -> None:
        try:
            sender, messages = self._unpacker.unpack(text)
        except ValueError:
            return  # somebody else's: whoever may use the database may send on any channel
        if sender == self._server_id or self._hear is None:
            return
        for message in messages:
            self._hear(sender, message)


def _channel(server_id: ServerId | None) -> str:
    return _EVERYBODY if server_id is None else f"{_EVERYBODY}:{server_id}"
