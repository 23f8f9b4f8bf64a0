"""How often a worker looks at its engine when many want to know at once."""

import asyncio

import msgspec
import pytest

from inferpool.client.transport import HttpRequest, TransportError
from inferpool.core.llm import LlmStatus
from inferpool.worker.disk import PatientDisk
from inferpool.worker.engine import Engine
from inferpool.worker.lookout import Lookout
from inferpool.worker.options import WorkerOptions
from inferpool.worker.state import WorkerState
from tests.worker.memory import MemoryReply, MemoryTransport, whole
from tests.worker.parts import MemoryDisk, QuietLog

pytestmark = pytest.mark.anyio

CROWD = 20


class SlowEngine:
    """An engine whose list of models comes when the test lets it come; without it the engine is away."""

    def __init__(self) -> None:
        self.transport = MemoryTransport(self._handle)
        self.asked = 0
        self.answering = asyncio.Event()
        self.up = True

    async def _handle(self, request: HttpRequest) -> MemoryReply:
        if not request.url.endswith("/v1/models"):
            return whole(404, b"")
        self.asked += 1
        self.transport.signal.tell()
        await self.answering.wait()
        if not self.up:
            raise TransportError("connection refused")
        return whole(200, b'{"data":[{"id":"tiny"}]}')


class Watchman:
    """A lookout with those who wait for what it sees."""

    def __init__(self) -> None:
        self.engine = SlowEngine()
        log = QuietLog()
        state = WorkerState(PatientDisk(MemoryDisk(), log), lambda: "session", lambda: "secret", log)
        options = msgspec.convert({"name": "box", "server_urls": [], "engine_urls": []}, WorkerOptions)
        self.looks = 0
        self.lookout = Lookout(options, Engine(self.engine.transport, "http://engine", None), state, self.note, log)

    def note(self) -> None:
        self.looks += 1

    async def asked_first(self) -> asyncio.Task[None]:
        """One who asks, whom the engine has heard but not answered."""
        first = asyncio.create_task(self.lookout.look())
        await self.engine.transport.signal.until(lambda: self.engine.asked == 1)
        return first

    def crowd(self) -> list[asyncio.Task[None]]:
        """Many who ask at once."""
        return [asyncio.create_task(self.lookout.look()) for _ in range(CROWD)]

    async def answered(self, *waiting: asyncio.Task[None]) -> None:
        """Let the engine answer; everybody has what was asked for."""
        self.engine.answering.set()
        await asyncio.wait_for(asyncio.gather(*waiting), 10)


async def test_a_look_under_way_may_have_seen_what_has_changed_since_so_all_who_ask_meanwhile_share_the_next() -> None:
    man = Watchman()
    first = await man.asked_first()
    crowd = man.crowd()
    await man.answered(first, *crowd)
    assert man.looks == 2


async def test_a_look_under_way_that_finds_the_engine_away_serves_all_who_ask_meanwhile() -> None:
    man = Watchman()
    man.engine.up = False
    first = await man.asked_first()
    await man.answered(first, *man.crowd())
    assert (man.looks, man.lookout.status) == (1, LlmStatus.INACTIVE)


async def test_who_asks_after_a_look_gets_a_new_one() -> None:
    man = Watchman()
    man.engine.up = False
    await man.answered(await man.asked_first())
    man.engine.up = True
    await man.lookout.look()
    assert (man.looks, man.lookout.status) == (2, LlmStatus.ACTIVE)


async def test_a_look_whose_asker_gave_up_is_done_for_those_who_still_wait() -> None:
    man = Watchman()
    first = await man.asked_first()
    crowd = man.crowd()
    first.cancel()
    await man.answered(*crowd)
    assert (man.looks, man.engine.asked, man.lookout.status) == (1, 2, LlmStatus.ACTIVE)
