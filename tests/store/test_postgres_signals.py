"""Hints between servers on a real PostgreSQL: in order, whole, heard again after every kind of break."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType

import msgspec
import pytest

from inferpool.store.postgres_driver import Address
from inferpool.store.postgres_signals import HASTY, PostgresSignals, Pulse
from inferpool.store.servers_protocol import NOTE_LIMIT, Note
from tests.store.side_desk import SideDesk, emptied_desk

pytestmark = pytest.mark.anyio

PATIENCE_S = 60.0
ALL = "all of them"
TIMES = msgspec.structs.replace(HASTY, connect_s=PATIENCE_S, statement_s=PATIENCE_S)
"""A busy machine takes its time."""


@pytest.fixture
def desk() -> SideDesk:
    """An emptied database."""
    return emptied_desk(own=True)


class Listener:
    """Hears everything on its channels."""

    def __init__(self, signals: PostgresSignals, channels: Sequence[str] = (ALL,)) -> None:
        self.texts: list[str] = []
        self.links = 0
        self._changed = asyncio.Condition()
        self._news = asyncio.Event()
        self._task = asyncio.ensure_future(signals.listen(channels, self._hear, self._linked))

    def _hear(self, text: str) -> None:
        self.texts.append(text)
        self._news.set()

    def _linked(self) -> None:
        self.links += 1
        self._news.set()

    async def heard(self, count: int) -> list[str]:
        """What was heard, once that is so many."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.texts) < count:
                self._news.clear()
                await self._news.wait()
        return self.texts

    async def linked(self, times: int) -> None:
        """Returns once it was linked that often."""
        async with asyncio.timeout(PATIENCE_S):
            while self.links < times:
                self._news.clear()
                await self._news.wait()

    async def __aenter__(self) -> "Listener":
        await self.linked(1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


@asynccontextmanager
async def signalling(url: str) -> AsyncIterator[PostgresSignals]:
    signals = PostgresSignals(Address(url, TIMES, reads_only=True), Pulse(every_s=0.1, answer_s=PATIENCE_S))
    try:
        yield signals
    finally:
        signals.close()


async def test_what_one_server_sends_the_others_and_it_itself_hear_in_order(desk: SideDesk) -> None:
    async with signalling(desk.url) as one, signalling(desk.url) as other:
        async with Listener(one) as here, Listener(other, [ALL, "other"]) as there:
            await one.send([Note(ALL, "first"), Note("nobody", "lost"), Note("other", "second")])
            await one.send([Note(ALL, "third")])
            assert await there.heard(3) == ["first", "second", "third"]
            assert await here.heard(2) == ["first", "third"]


async def test_a_thousand_notes_at_once_arrive_in_order(desk: SideDesk) -> None:
    async with signalling(desk.url) as one, signalling(desk.url) as other, Listener(other) as there:
        sent = [f"{number} " + "x" * 900 for number in range(1_000)]
        await one.send([Note(ALL, text) for text in sent])
        assert await there.heard(1_000) == sent


async def test_a_note_of_the_greatest_size_arrives_whole(desk: SideDesk) -> None:
    async with signalling(desk.url) as one, Listener(one) as here:
        text = "é" * (NOTE_LIMIT // 2)
        await one.send([Note(ALL, text)])
        assert await here.heard(1) == [text]
