"""Every verb of the law as it is done to a real store: one function a verb, one staged row a state."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import msgspec

from inferpool.core.clock import HOUR, MINUTE
from inferpool.core.errors import Conflict
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Act, Refused, Standing, Verb, advance, refusal
from inferpool.core.task import Attempt
from inferpool.store.protocol import Settlement, Verdict
from tests.store.builders import Rig, Worker, complete, fail, new_id, new_task, offer, retry, want
from tests.store.model import REPEATS


class Cast(msgspec.Struct, frozen=True):
    """A staged task with the sessions that may speak of it."""

    rig: Rig
    task_id: TaskId
    lane: str
    right: Worker
    """The session of the newest attempt (of the lost row: nobody's yet)."""
    wrong: Worker
    """Never had the task."""
    lost: Worker
    """Lost the first attempt: inactive."""


class Line(msgspec.Struct, frozen=True):
    """One thing said: who, about which attempt."""

    worker: Worker
    attempt: int


async def stage(rig: Rig, stand: str) -> Cast:
    """A task that stands like this, its first attempt lost by a session."""
    right, wrong, lost = [await _newcomer(rig) for _ in range(3)]
    task = new_task(lane=f"pool:{new_id()}")
    await rig.store.enqueue(task, lost.slot())
    await lost.lose()
    cast = Cast(rig, task.id, task.routing.lane, right, wrong, lost)
    for step in _PATHS[stand]:
        await _STEPS[step](cast)
    return cast


async def _newcomer(rig: Rig) -> Worker:
    worker = Worker(rig, new_id())
    await worker.register()
    return worker


async def _claim(cast: Cast) -> None:
    taken = await cast.right.claim([want(cast.lane, cast.right.llm)])
    assert [each.task_id for each in taken] == [cast.task_id]


async def _start(cast: Cast) -> None:
    cast.rig.store.start(cast.right.says(cast.task_id, 2))
    await cast.rig.flushed()


async def _return(cast: Cast) -> None:
    await cast.rig.store.give_back(cast.right.says(cast.task_id, 2))


async def _back_off(cast: Cast) -> None:
    await cast.rig.store.retry(retry(cast.right.says(cast.task_id, 2), delay=MINUTE))


async def _complete(cast: Cast) -> None:
    await cast.rig.store.complete(complete(cast.right.says(cast.task_id, 2)))


async def _fail(cast: Cast) -> None:
    await cast.rig.store.fail(fail(cast.right.says(cast.task_id, 2)))


async def _cancel(cast: Cast) -> None:
    await cast.rig.store.cancel(cast.task_id)


_STEPS: Mapping[str, Callable[[Cast], Awaitable[None]]] = {
    "claim": _claim,
    "start": _start,
    "return": _return,
    "back off": _back_off,
    "complete": _complete,
    "fail": _fail,
    "cancel": _cancel,
}

_PATHS: Mapping[str, list[str]] = {
    "lost": [],
    "pending": ["claim", "return"],
    "backing off": ["claim", "start", "back off"],
    "claimed": ["claim"],
    "running": ["claim", "start"],
    "completed": ["claim", "start", "complete"],
    "error": ["claim", "fail"],
    "cancelled": ["claim", "start", "cancel"],
}

STANDS = list(_PATHS)

Said: TypeAlias = Settlement | bool | None
"""A settlement where a session speaks; else whether it was done (None: the row alone tells)."""


async def _say_claim(cast: Cast, line: Line) -> Said:
    taken = await line.worker.claim([want(cast.lane, line.worker.llm)])
    return bool(taken)


async def _say_start(cast: Cast, line: Line) -> Said:
    cast.rig.store.start(line.worker.says(cast.task_id, line.attempt))
    await cast.rig.flushed()
    return None


async def _say_adopt(cast: Cast, line: Line) -> Said:
    llms = [offer(line.worker.llm)]
    await line.worker.register([(cast.task_id, line.attempt)], llms=llms)
    return None


async def _say_complete(cast: Cast, line: Line) -> Said:
    return await cast.rig.store.complete(complete(line.worker.says(cast.task_id, line.attempt)))


async def _say_fail(cast: Cast, line: Line) -> Said:
    return await cast.rig.store.fail(fail(line.worker.says(cast.task_id, line.attempt)))


async def _say_retry(cast: Cast, line: Line) -> Said:
    return await cast.rig.store.retry(retry(line.worker.says(cast.task_id, line.attempt), delay=MINUTE))


async def _say_revert(cast: Cast, line: Line) -> Said:
    await cast.rig.store.deactivate(line.worker.loss())
    return None


async def _say_give_back(cast: Cast, line: Line) -> Said:
    return await cast.rig.store.give_back(line.worker.says(cast.task_id, line.attempt))


async def _say_cancel(cast: Cast, _: Line) -> Said:
    return (await cast.rig.store.cancel(cast.task_id)).moved is not None


async def _say_expire(cast: Cast, _: Line) -> Said:
    cast.rig.later(2 * HOUR)
    return cast.task_id in [moved.task_id for moved in await cast.rig.store.expire(100)]


async def _say_unserved(cast: Cast, _: Line) -> Said:
    return cast.task_id in [moved.task_id for moved in await cast.rig.store.end_unserved(100)]


async def _say_replay(cast: Cast, _: Line) -> Said:
    try:
        await cast.rig.store.replay(cast.task_id, 9.0, HOUR)
    except Conflict:
        return False
    return True


async def _say_delete(cast: Cast, _: Line) -> Said:
    try:
        await cast.rig.store.purge(cast.task_id)
    except Conflict:
        return False
    return True


DO: Mapping[Verb, Callable[[Cast, Line], Awaitable[Said]]] = {
    Verb.CLAIM: _say_claim,
    Verb.START: _say_start,
    Verb.ADOPT: _say_adopt,
    Verb.COMPLETE: _say_complete,
    Verb.FAIL: _say_fail,
    Verb.RETRY: _say_retry,
    Verb.REVERT: _say_revert,
    Verb.GIVE_BACK: _say_give_back,
    Verb.CANCEL: _say_cancel,
    Verb.EXPIRE: _say_expire,
    Verb.UNSERVED: _say_unserved,
    Verb.REPLAY: _say_replay,
    Verb.DELETE: _say_delete,
}


def expected(row: Standing, verb: Verb, line: Line) -> tuple[Standing | None, bool]:
    """The row that the law makes of this, with whether it was done."""
    attempt = row.attempt if verb is Verb.REVERT else line.attempt
    try:
        return advance(row, verb, Act(session=line.worker.id, attempt=attempt)), True
    except Refused:
        return row, False


def verdict(row: Standing, history: list[Attempt], verb: Verb, line: Line) -> Verdict:
    """What a session is told that said this about a row that stands like that."""
    if expected(row, verb, line)[1]:
        return Verdict.DONE
    told = {(each.attempt, each.session_id): each.ending for each in history}
    if told.get((line.attempt, line.worker.id)) in REPEATS[verb]:
        return Verdict.REPEAT
    return Verdict(refusal(row).value)
