"""The judgement over a run that is over: its store, its answers, what nobody caught."""

import sqlite3
from collections import Counter
from typing import NamedTuple

import msgspec

from inferpool.core.stream import unpack_chunks
from inferpool.store.invariants import check
from inferpool.store.runners import drive
from inferpool.store.sqlite_connection import connect
from tests.simulation.cast import Cast
from tests.simulation.plan import WORKERS

_FULL = "database or disk is full"
"""What a full disk makes impossible may be said as an error: it is tried again, or healed by the poll."""


def overhear(cast: Cast) -> None:
    """What was logged as an error, or caught by nobody, before the dead are buried."""
    cast.laws.broken.extend(cast.world.network.faults)
    cast.laws.broken.extend(cast.loop.faults)
    for log in [*(log for one in cast.servers for log in one.logs), *(log for one in cast.nodes for log in one.logs)]:
        cast.laws.broken.extend(error for error in log.errors if _FULL not in error)


def judge(cast: Cast) -> None:
    """Once nobody runs any more: the store, what was accepted."""
    for task_id, tag in cast.shared.accepted.items():
        if cast.laws.row(task_id) is None:
            cast.shared.breach(f"the task of {tag} was accepted, it is gone")
    if any(worker.replaced and not worker.clones for worker in cast.workers):
        cast.shared.breach("a worker was told that another runs on its state")
    if not cast.path.exists():
        return
    connection = connect(cast.path, cast.world.clock)
    for violation in drive(check(connection)):
        cast.shared.breach(f"the store breaks {violation}")
    connection.close()
    _judge_answers(cast)


class Stored(NamedTuple):
    """A completed row with its stream."""

    task_id: str
    attempt: int
    streaming: int
    request: bytes
    response: bytes
    llm_name: str
    chunks_of: int | None
    packed: bytes | None


_ANSWERS = """
SELECT t.id, t.attempt, t.streaming, t.request, t.response, a.llm_name, c.attempt, c.packed
FROM tasks t
JOIN attempts a ON a.task_id = t.id AND a.attempt = t.attempt
LEFT JOIN chunks c ON c.task_id = t.id
WHERE t.status = 'completed'
"""


def _judge_answers(cast: Cast) -> None:
    """Every stored answer is the whole answer of one engine, to the attempt that the row names."""
    driver = sqlite3.connect(cast.path)
    answers = driver.execute(_ANSWERS).fetchall()
    driver.close()
    completed: Counter[str] = Counter()
    for answer in answers:
        completed[_judge_answer(cast, Stored._make(answer))] += 1
    for tag in cast.shared.keyed:
        if completed[tag] > 1:
            cast.shared.breach(f"{completed[tag]} tasks of one idempotency key were completed: {tag}")


def _judge_answer(cast: Cast, stored: Stored) -> str:
    """Returns what was asked, by its tag."""
    memory = cast.shared.memory
    tag = str(msgspec.json.decode(stored.request)["tag"])
    who = f"the row {cast.laws.name(stored.task_id)}"
    number = str(msgspec.json.decode(stored.response)["id"])
    said = memory.check_attempt(who, number, stored.task_id, stored.attempt)
    worker = stored.llm_name.partition("@")[2]
    if said is not None and said.engine != cast.engines[WORKERS.index(worker)].name:
        cast.shared.breach(f"{who} was completed by {worker} with an answer of {said.engine}")
    if not stored.streaming:
        memory.check_whole(who, tag, stored.response)
        return tag
    memory.check_assembled(who, tag, stored.response)
    if stored.chunks_of != stored.attempt or stored.packed is None:
        cast.shared.breach(f"{who} has no stream of its last attempt")
    else:
        memory.check_stream(who, tag, unpack_chunks(stored.packed))
    return tag
