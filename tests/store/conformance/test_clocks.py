"""Claims about a server whose clock is an hour off, its ids with it: no horizon comes early or late.

The database's clock decides them all. On SQLite that is the clock which its one server hands in: what it is off by, it is off
by for every horizon, so that none moves as long as the clock goes on evenly.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import NamedTuple

import pytest

from inferpool.core.access import NewToken, Role
from inferpool.core.clock import HOUR, MINUTE, SECOND, Micros
from inferpool.core.ids import ServerId, SessionId, TaskId, TokenId
from inferpool.core.lifecycle import Status
from tests.store.builders import Rig, Worker, complete, new_task, retry
from tests.store.peers import DEAD_AFTER, orphaned

pytestmark = pytest.mark.anyio

HASH = "a" * 64

_numbers = count(1)


class Desk(NamedTuple):
    """A server whose clock is `off` that much, with a worker of it."""

    rig: Rig
    off: Micros
    worker: Worker

    def new_id(self) -> str:
        """A UUIDv7 by the server's own clock."""
        made = f"{(self.rig.now() + self.off) // 1000:012x}"
        return f"{made[:8]}-{made[8:]}-7000-8000-{next(_numbers):012x}"

    async def enqueue(self, *, key: str | None = None, expires_in: Micros = HOUR) -> TaskId:
        """A task of this server."""
        task = new_task(key=key, id=TaskId(self.new_id()), expires_in=expires_in)
        return (await self.rig.store.enqueue(task, None)).task_id

    async def run(self) -> TaskId:
        """A task that its worker holds."""
        await self.enqueue()
        [taken] = await self.worker.claim(run_limit=MINUTE)
        return taken.task_id


@pytest.fixture(params=[-HOUR, HOUR], ids=["an hour behind", "an hour ahead"])
async def desk(request: pytest.FixtureRequest, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A server whose clock is off, whatever it asks."""
    off: Micros = request.param
    seconds = time.time
    nanoseconds = time.time_ns
    monkeypatch.setattr(time, "time", lambda: seconds() + off / SECOND)
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + off * 1000)
    desk = Desk(rig, off, Worker(rig))
    desk.worker.server_id = ServerId(desk.new_id())
    desk.worker.id = SessionId(desk.new_id())
    await rig.store.beat(desk.worker.server_id, [])
    await desk.worker.register()
    return desk


class Horizon(NamedTuple):
    """Something that falls due when it is `age` old."""

    age: Micros
    begins: Callable[[Desk], Awaitable[object]]
    is_due: Callable[[Desk], Awaitable[bool]]


async def _waits(desk: Desk) -> None:
    await desk.enqueue(expires_in=MINUTE)


async def _expires(desk: Desk) -> bool:
    return bool(await desk.rig.store.expire(10))


async def _runs(desk: Desk) -> None:
    await desk.run()


async def _is_overdue(desk: Desk) -> bool:
    return bool(await desk.rig.store.end_overdue(10))


async def _backs_off(desk: Desk) -> None:
    task_id = await desk.run()
    await desk.rig.store.retry(retry(desk.worker.says(task_id), delay=MINUTE))


async def _is_ready(desk: Desk) -> bool:
    return bool(await desk.rig.store.make_ready(10))


async def _is_silent(desk: Desk) -> bool:
    return await desk.rig.store.deactivate(desk.worker.loss(silent_for=MINUTE)) is not None


async def _is_swept(desk: Desk) -> bool:
    await desk.rig.store.deactivate_silent(MINUTE, 10)
    session = await desk.rig.reader.session(desk.worker.id)
    return session is not None and not session.active


async def _beats(desk: Desk) -> None:
    await desk.rig.store.beat(desk.worker.server_id, [])


async def _is_dead(desk: Desk) -> bool:
    dead = await desk.rig.reader.servers() == []
    assert [one.session_id for one in await desk.rig.reader.orphans(10)] == ([desk.worker.id] if dead else [])
    assert (await desk.rig.reader.session_standings([desk.worker.id]))[0].alive is not dead
    return dead


async def _is_rescued(desk: Desk) -> bool:
    return await desk.rig.store.deactivate(orphaned(desk.worker)) is not None


async def _ends(desk: Desk) -> None:
    await desk.worker.lose()


async def _is_forgotten(desk: Desk) -> bool:
    return await desk.rig.store.forget_sessions(MINUTE, 10) == 1


async def _retires(desk: Desk) -> None:
    await desk.worker.lose()
    await _beats(desk)


async def _server_is_forgotten(desk: Desk) -> bool:
    return await desk.rig.store.forget_servers(MINUTE, 10) == 1


async def _completes(desk: Desk) -> None:
    await desk.rig.store.complete(complete(desk.worker.says(await desk.run()), chunks=b"packed"))


async def _is_deleted(desk: Desk) -> bool:
    return await desk.rig.store.delete_ended(MINUTE, 10) == 1


async def _stream_is_deleted(desk: Desk) -> bool:
    return await desk.rig.store.delete_chunks(MINUTE, 10) == 1


async def _has_a_key(desk: Desk) -> None:
    await desk.enqueue(key="k")


async def _key_is_deleted(desk: Desk) -> bool:
    return await desk.rig.store.delete_keys(MINUTE, 10) == 1


async def _makes_a_token(desk: Desk) -> None:
    token = NewToken(id=TokenId(desk.new_id()), hash=HASH, subject="ann", role=Role.CALLER, expires_in=MINUTE)
    await desk.rig.store.create_token(token)


async def _token_lapsed(desk: Desk) -> bool:
    lapsed = await desk.rig.reader.valid_token(HASH) is None
    assert bool(await desk.rig.reader.lapsed_tokens(MINUTE)) is lapsed
    return lapsed


HORIZONS: Mapping[str, Horizon] = {
    "a waiting task expires": Horizon(MINUTE, _waits, _expires),
    "a run is over its limit": Horizon(MINUTE, _runs, _is_overdue),
    "a back-off is over": Horizon(MINUTE, _backs_off, _is_ready),
    "a session was silent": Horizon(MINUTE, _runs, _is_silent),
    "a silent session is swept": Horizon(MINUTE, _runs, _is_swept),
    "a server is dead": Horizon(DEAD_AFTER, _beats, _is_dead),
    "a session is rescued": Horizon(DEAD_AFTER, _beats, _is_rescued),
    "a session is forgotten": Horizon(MINUTE, _ends, _is_forgotten),
    "a server is forgotten": Horizon(MINUTE, _retires, _server_is_forgotten),
    "an ended task is deleted": Horizon(MINUTE, _completes, _is_deleted),
    "a stream is deleted": Horizon(MINUTE, _completes, _stream_is_deleted),
    "a key is deleted": Horizon(MINUTE, _has_a_key, _key_is_deleted),
    "a token lets nobody in": Horizon(MINUTE, _makes_a_token, _token_lapsed),
}
"""Everything that the store lets fall due."""


@pytest.mark.parametrize("what", HORIZONS)
async def test_what_falls_due_at_a_server_whose_clock_is_off_is_neither_early_nor_late(desk: Desk, what: str) -> None:
    horizon = HORIZONS[what]
    await horizon.begins(desk)
    desk.rig.later(horizon.age - 1)
    assert not await horizon.is_due(desk)
    desk.rig.later(1)
    assert await horizon.is_due(desk)


async def test_times_are_those_of_the_database_whatever_the_servers_clock_says(desk: Desk) -> None:
    now = desk.rig.now()
    row = await desk.rig.reader.row(await desk.run())
    assert row is not None
    assert (row.status, row.created_at, row.claimed_at, row.deadline) == (Status.CLAIMED, now, now, now + MINUTE)
    session = await desk.rig.reader.session(desk.worker.id)
    assert session is not None
    assert (session.created_at, session.registered_at, session.seen_at) == (now, now, now)
