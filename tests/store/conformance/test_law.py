"""Claims about each state against each verb, said by the right, the wrong, the lost session of each attempt."""

import itertools

import msgspec
import pytest

from inferpool.core.lifecycle import HELD, Act, Standing, Status, Verb, advance
from inferpool.store.protocol import Settlement
from tests.store.acts import DO, STANDS, Line, expected, stage, verdict
from tests.store.builders import Rig, standing_of
from tests.store.rigs import RIGS

pytestmark = pytest.mark.anyio

SESSION_VERBS = [Verb.START, Verb.ADOPT, Verb.COMPLETE, Verb.FAIL, Verb.RETRY, Verb.GIVE_BACK]
LONELY_VERBS = [Verb.CANCEL, Verb.EXPIRE, Verb.UNSERVED, Verb.REPLAY, Verb.DELETE]
SPEAKERS = ["right", "wrong", "lost"]

CASES = [
    *itertools.product(STANDS, SESSION_VERBS, SPEAKERS, [0, 1]),
    *itertools.product(STANDS, [Verb.CLAIM, Verb.REVERT], SPEAKERS, [0]),
    *itertools.product(STANDS, LONELY_VERBS, ["wrong"], [0]),
]
"""The row, the verb, who does it, how many attempts behind the row's."""


def after_registering(row: Standing, line: Line) -> Standing:
    """Registering adopts, reverts what the session no longer lists, gives up what it lost."""
    session = line.worker.id
    listed = line.attempt == row.attempt
    if row.claimed_by == session and not listed:
        row = advance(row, Verb.REVERT, Act(session=session, attempt=row.attempt)) or row
    if row.lost_by == session and not listed:
        return msgspec.structs.replace(row, lost_by=None, lost_counted=False)
    return expected(row, Verb.ADOPT, line)[0] or row


def lawful(row: Standing, verb: Verb, line: Line, *, active: bool) -> Standing | None:
    """The row after the verb as the law has it; an inactive session claims nothing."""
    if verb is Verb.ADOPT:
        return after_registering(row, line)
    if verb is Verb.CLAIM and not active:
        return row
    return expected(row, verb, line)[0]


@pytest.mark.parametrize(("stand", "verb", "who", "behind"), CASES)
@pytest.mark.parametrize("rig", sorted(RIGS), indirect=True)
async def test_the_store_does_to_a_row_what_the_law_does(
    rig: Rig, stand: str, verb: Verb, who: str, behind: int
) -> None:
    cast = await stage(rig, stand)
    before = await standing_of(rig, cast.task_id)
    assert before is not None
    history = await rig.reader.attempts(cast.task_id)
    worker = {"right": cast.right, "wrong": cast.wrong, "lost": cast.lost}[who]
    line = Line(worker, before.attempt - behind)
    law = lawful(before, verb, line, active=who != "lost")
    said = await DO[verb](cast, line)
    after = await standing_of(rig, cast.task_id)
    assert after == law
    if isinstance(said, Settlement):
        told = verdict(before, history, verb, line)
        assert (said.verdict, said.status) == (told, None if after is None else after.status)
    elif said is not None:
        assert said == (after != before)
    if after == before:
        assert await rig.reader.attempts(cast.task_id) == history


@pytest.mark.parametrize(("stand", "verb"), list(itertools.product(STANDS, Verb)))
@pytest.mark.parametrize("rig", sorted(RIGS), indirect=True)
async def test_each_ended_attempt_has_one_history_row(rig: Rig, stand: str, verb: Verb) -> None:
    cast = await stage(rig, stand)
    before = await standing_of(rig, cast.task_id)
    assert before is not None
    worker = cast.lost if verb is Verb.ADOPT else cast.right
    await DO[verb](cast, Line(worker, before.attempt))
    after = await standing_of(rig, cast.task_id)
    over = 0 if after is None else after.attempt - (after.status in HELD)
    assert [each.attempt for each in await rig.reader.attempts(cast.task_id)] == list(range(1, over + 1))


@pytest.mark.parametrize("verb", [Verb.COMPLETE, Verb.FAIL, Verb.RETRY, Verb.GIVE_BACK])
async def test_what_is_said_of_a_task_that_is_gone_is_unknown(rig: Rig, verb: Verb) -> None:
    cast = await stage(rig, "completed")
    await rig.store.purge(cast.task_id)
    said = await DO[verb](cast, Line(cast.right, 2))
    assert isinstance(said, Settlement)
    assert (said.verdict.value, said.status) == ("unknown", None)


async def test_a_running_row_that_starts_again_keeps_its_first_start(rig: Rig) -> None:
    cast = await stage(rig, "running")
    before = await rig.reader.row(cast.task_id)
    rig.later(1_000)
    await DO[Verb.START](cast, Line(cast.right, 2))
    assert await rig.reader.row(cast.task_id) == before
    assert before is not None
    assert before.status is Status.RUNNING
    assert before.stream_started_at is not None
