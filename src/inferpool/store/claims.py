"""Claims waiting tasks for one engine of a session."""

from collections.abc import Sequence

from inferpool.core.clock import Micros
from inferpool.core.task import ClaimedTask
from inferpool.core.turns import Candidate
from inferpool.store.connection import Connection, Row
from inferpool.store.enqueue import stands
from inferpool.store.protocol import Claim, LanesWant
from inferpool.store.rows import CLAIM, CLAIMABLE, Claimable
from inferpool.store.statements import json_text
from inferpool.store.tasks import now_us


async def claim(connection: Connection, wish: Claim) -> list[ClaimedTask]:
    """Claim up to `free` tasks, the lanes in turn; nothing when the session moved, ended or leaves."""
    if not await stands(connection, wish.session_id, wish.epoch, wish.server_id):
        return []
    waiting: dict[str, list[Candidate]] = {}
    llms: dict[str, str] = {}
    for want in wish.lanes:
        found = [one for one in await _claimable(connection, want, wish.free) if one.task_id not in llms]
        llms |= dict.fromkeys((one.task_id for one in found), want.llm_name)
        waiting[want.lane] = _merged(waiting.get(want.lane, []), found)
    taken = wish.turns.take(waiting, wish.free)
    now = await now_us(connection)
    return await connection.read(CLAIM, [_parameters(wish, str(one.task_id), llms, now) for one in taken])


async def _claimable(connection: Connection, want: LanesWant, free: int) -> list[Claimable]:
    endpoints = None if want.endpoints is None else json_text(want.endpoints)
    return await connection.read(CLAIMABLE, [(want.lane, endpoints, endpoints, free)])


def _merged(before: list[Candidate], found: Sequence[Claimable]) -> list[Candidate]:
    """Two llms of one engine may take from the same lane: what either may take, in the lane's order."""
    more = [Candidate(one.task_id, one.rank, one.priority) for one in found]
    return sorted(before + more, key=_place) if before else more


def _place(one: Candidate) -> tuple[float, str]:
    return one.rank, str(one.task_id)


def _parameters(wish: Claim, task_id: str, llms: dict[str, str], now: Micros) -> Row:
    deadline = now + wish.run_limit
    return (wish.session_id, llms[task_id], wish.batch, now, deadline, wish.run_limit, task_id)
