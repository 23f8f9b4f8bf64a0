"""Ends the attempts of a batch, each group by the statements that it shares."""

from collections.abc import Collection, Sequence
from typing import Final, TypeVar

from inferpool.core.clock import Micros
from inferpool.core.lifecycle import Ending, Status
from inferpool.core.task import Answer, Usage
from inferpool.store.connection import Connection, Row
from inferpool.store.operations import Complete, Fail, GiveBack, Start, TryAgain
from inferpool.store.protocol import Settlement, Spoken, Verdict
from inferpool.store.rows import GIVE_BACK, RETRY, VERDICT, Ended

_COMPLETED: Final = Settlement(Verdict.DONE, Status.COMPLETED)
_FAILED: Final = Settlement(Verdict.DONE, Status.ERROR)
_FAILURES: Final = frozenset({Ending.FAILED, Ending.RETRIED})

End = TypeVar("End", Complete, Fail, TryAgain, GiveBack)


async def start(connection: Connection, starts: Sequence[Start], now: Micros) -> None:
    """Set the attempts running; what no longer stands is passed over."""
    await connection.write("start", [(now, *_key(one.spoken)) for one in starts])


async def complete(connection: Connection, ends: Sequence[Complete], now: Micros) -> None:
    """Store the answers."""
    history = [(now, "completed", None, None, None, *_key(one.end.spoken)) for one in ends]
    done = await _settled(connection, "end_attempt", ends, history, {Ending.COMPLETED})
    rows = [(now, *_answer(e.end.answer), *_tokens(e.end.usage), *_key(e.end.spoken)) for e in done]
    await connection.write("complete", rows)
    streams = [one.end for one in done if one.end.chunks is not None]
    await connection.write("keep_chunks", [(e.spoken.task_id, e.spoken.attempt, now, e.chunks) for e in streams])
    for one in done:
        one.outcome = _COMPLETED


async def fail(connection: Connection, ends: Sequence[Fail], now: Micros) -> None:
    """End the tasks in error."""
    history = [
        (now, "failed", e.fault.code, e.fault.message, e.detail, *_key(e.spoken)) for e in (one.end for one in ends)
    ]
    done = await _settled(connection, "end_attempt", ends, history, _FAILURES)
    rows = [
        (now, e.fault.code, e.fault.message, *_answer(e.answer), *_tokens(e.usage), *_key(e.spoken))
        for e in (one.end for one in done)
    ]
    await connection.write("fail", rows)
    for one in done:
        one.outcome = _FAILED


async def retry(connection: Connection, ends: Sequence[TryAgain], now: Micros) -> None:
    """Put the tasks back until their back-off is over, or end them where no try is left."""
    history = [(now, e.counts, e.fault.code, e.fault.message, *_key(e.spoken)) for e in (one.end for one in ends)]
    done = await _settled(connection, "retry_attempt", ends, history, _FAILURES)
    rows = [
        (
            now,
            e.counts,
            e.delay,
            e.fault.code,
            e.fault.message,
            *_answer(e.answer),
            *_key(e.spoken),
            e.spoken.session_id,
        )
        for e in (one.end for one in done)
    ]
    for one, moved in zip(done, await connection.read(RETRY, rows), strict=True):
        waits = moved.status is Status.PENDING
        one.outcome = Settlement(Verdict.DONE, moved.status, moved if waits else None)


async def give_back(connection: Connection, ends: Sequence[GiveBack], now: Micros) -> None:
    """Put the tasks back as if they had not been claimed."""
    history = [(now, "returned", None, None, None, *_key(one.spoken)) for one in ends]
    done = await _settled(connection, "end_attempt", ends, history, {Ending.RETURNED})
    rows = [(*_key(one.spoken), one.spoken.session_id) for one in done]
    for one, moved in zip(done, await connection.read(GIVE_BACK, rows), strict=True):
        one.outcome = Settlement(Verdict.DONE, moved.status, moved)


async def _settled(
    connection: Connection, name: str, ends: Sequence[End], history: Sequence[Row], same: Collection[Ending]
) -> list[End]:
    """Write the history of those attempts that stand: they are returned. The others are given their verdict."""
    hits = await connection.change(name, history)
    missed = [one for one, hit in zip(ends, hits, strict=True) if not hit]
    if missed:
        rows = [(one.spoken.task_id, one.spoken.attempt) for one in missed]
        found = {row.task_id: row for row in await connection.read(VERDICT, rows)}
        for one in missed:
            one.outcome = _verdict(found.get(one.spoken.task_id), one.spoken, same)
    return [one for one, hit in zip(ends, hits, strict=True) if hit]


def _verdict(end: Ended | None, spoken: Spoken, same: Collection[Ending]) -> Settlement:
    """What is said of an attempt that does not stand. `same`: the endings that make it a repeat."""
    if end is None:
        return Settlement(Verdict.UNKNOWN)
    if end.session_id == spoken.session_id and end.ending in same:
        return Settlement(Verdict.REPEAT, end.status)
    return Settlement(Verdict.CANCELLED if end.status is Status.CANCELLED else Verdict.STALE, end.status)


def _key(spoken: Spoken) -> tuple[str, int, str]:
    return spoken.task_id, spoken.attempt, spoken.session_id


def _answer(answer: Answer | None) -> tuple[int | None, str | None, bytes | None]:
    return (None, None, None) if answer is None else (answer.status, answer.content_type, answer.body)


def _tokens(usage: Usage | None) -> tuple[int | None, int | None]:
    return (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
