"""Claims waiting tasks for engines of sessions: all that a batch asks for, in two statements."""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeAlias

from inferpool.core.clock import Micros
from inferpool.core.ids import TaskId
from inferpool.core.turns import Candidate
from inferpool.store.connection import Connection, Row
from inferpool.store.enqueue import claimer
from inferpool.store.operations import Take
from inferpool.store.protocol import Claim, LanesWant
from inferpool.store.rows import CLAIM, CLAIMABLE, Claimable, Claimer
from inferpool.store.statements import json_text

Look: TypeAlias = tuple[str, str | None]
"""A lane with the endpoints (JSON; None: any) that are looked for in it."""


async def claim(connection: Connection, takes: Sequence[Take], claimers: Collection[Claimer], now: Micros) -> None:
    """Claim up to `free` tasks for each, its lanes in turn; nothing when its session is not among the claimers."""
    wishes = [one for one in takes if claimer(one.wish) in claimers]
    shelf = await _shelf(connection, [one.wish for one in wishes])
    rows: list[Row] = []
    owners: dict[TaskId, Take] = {}
    for one in takes:
        one.outcome = []
    for one in wishes:
        taken = _take(one.wish, shelf, owners)
        owners |= dict.fromkeys(taken, one)
        rows += [_parameters(one.wish, task_id, llm_name, now) for task_id, llm_name in taken.items()]
    for claimed in await connection.read(CLAIM, rows):
        owners[claimed.task_id].outcome.append(claimed)


async def _shelf(connection: Connection, wishes: Iterable[Claim]) -> dict[Look, list[Claimable]]:
    """The first claimable tasks of each lane that is asked for: as many as all that ask could take together."""
    asked: dict[Look, int] = {}
    for wish in wishes:
        for look in {_look(want) for want in wish.lanes}:
            asked[look] = asked.get(look, 0) + wish.free
    looks = list(asked)
    shelf: dict[Look, list[Claimable]] = {look: [] for look in looks}
    for found in await connection.read(CLAIMABLE, [(place, *look, asked[look]) for place, look in enumerate(looks)]):
        shelf[looks[found.look]].append(found)
    return shelf


def _look(want: LanesWant) -> Look:
    return want.lane, None if want.endpoints is None else json_text(want.endpoints)


def _take(wish: Claim, shelf: dict[Look, list[Claimable]], gone: Collection[TaskId]) -> dict[TaskId, str]:
    """The tasks to claim, in that order, each with the llm that takes it. `gone`: taken by an earlier claim."""
    waiting: dict[str, list[Candidate]] = {}
    llms: dict[TaskId, str] = {}
    for want in wish.lanes:
        left = [one for one in shelf[_look(want)] if one.task_id not in gone and one.task_id not in llms]
        found = left[: wish.free]
        llms |= dict.fromkeys((one.task_id for one in found), want.llm_name)
        waiting[want.lane] = _merged(waiting.get(want.lane, []), found)
    taken = [TaskId(str(one.task_id)) for one in wish.turns.take(waiting, wish.free)]
    return {task_id: llms[task_id] for task_id in taken}


def _merged(before: list[Candidate], found: Sequence[Claimable]) -> list[Candidate]:
    """Two llms of one engine may take from the same lane: what either may take, in the lane's order."""
    more = [Candidate(one.task_id, one.rank, one.priority) for one in found]
    return sorted(before + more, key=_place) if before else more


def _place(one: Candidate) -> tuple[float, str]:
    return one.rank, str(one.task_id)


def _parameters(wish: Claim, task_id: TaskId, llm_name: str, now: Micros) -> Row:
    return (wish.session_id, llm_name, wish.batch, now, now + wish.run_limit, wish.run_limit, task_id)
