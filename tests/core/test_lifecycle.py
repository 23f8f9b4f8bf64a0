"""Claims about the law: every state against every verb, with each law of the spec's third section."""

import itertools

import msgspec
import pytest

from inferpool.core.ids import SessionId
from inferpool.core.lifecycle import (
    HELD,
    PENDING,
    TERMINAL,
    TRANSITIONS,
    Act,
    Refusal,
    Refused,
    Standing,
    Status,
    Verb,
    advance,
    permits,
    refusal,
)

WORKER = SessionId("worker")
OTHER = SessionId("other")
LOST = SessionId("lost")

GRID: dict[Status, dict[Verb, Status | None]] = {
    Status.PENDING: {
        Verb.CLAIM: Status.CLAIMED,
        Verb.ADOPT: Status.CLAIMED,
        Verb.CANCEL: Status.CANCELLED,
        Verb.EXPIRE: Status.ERROR,
        Verb.UNSERVED: Status.ERROR,
    },
    Status.CLAIMED: {
        Verb.START: Status.RUNNING,
        Verb.COMPLETE: Status.COMPLETED,
        Verb.FAIL: Status.ERROR,
        Verb.RETRY: Status.PENDING,
        Verb.REVERT: Status.PENDING,
        Verb.GIVE_BACK: Status.PENDING,
        Verb.CANCEL: Status.CANCELLED,
    },
    Status.RUNNING: {
        Verb.START: Status.RUNNING,
        Verb.COMPLETE: Status.COMPLETED,
        Verb.FAIL: Status.ERROR,
        Verb.RETRY: Status.PENDING,
        Verb.REVERT: Status.PENDING,
        Verb.GIVE_BACK: Status.PENDING,
        Verb.CANCEL: Status.CANCELLED,
    },
    Status.COMPLETED: {Verb.DELETE: None},
    Status.ERROR: {Verb.REPLAY: Status.PENDING, Verb.DELETE: None},
    Status.CANCELLED: {Verb.REPLAY: Status.PENDING, Verb.DELETE: None},
}
"""The spec's table once more, written out by hand: what is not in it is refused."""

CELLS = list(itertools.product(Status, Verb))
SPOKEN = [Verb.START, Verb.COMPLETE, Verb.FAIL, Verb.RETRY, Verb.REVERT, Verb.GIVE_BACK]
ENDS_OF_HELD = [verb for verb in SPOKEN if verb is not Verb.START]


def standing(status: Status, *, tries: int = 0, max_tries: int = 3, patient: bool = True) -> Standing:
    """A row of its third attempt, held by the worker where it is held."""
    return Standing(
        status=status,
        attempt=3,
        tries=tries,
        max_tries=max_tries,
        claimed_by=WORKER if status in HELD else None,
        patient=patient,
    )


def lost(*, tries: int, counted: bool) -> Standing:
    """A pending row that a session lost in its third attempt."""
    return Standing(attempt=3, tries=tries, lost_by=LOST, lost_counted=counted)


def able(status: Status, verb: Verb) -> Standing:
    """A row in that state for which nothing but the state can refuse the verb."""
    if verb is Verb.ADOPT and status in PENDING:
        return lost(tries=1, counted=True)
    return standing(status, patient=verb is not Verb.UNSERVED)


def speaker(verb: Verb) -> Act:
    return Act(session=LOST if verb is Verb.ADOPT else WORKER, attempt=3)


def after(row: Standing, verb: Verb, act: Act) -> Standing:
    """The row after the verb, which must not be gone."""
    moved = advance(row, verb, act)
    assert moved is not None
    return moved


@pytest.mark.parametrize(("status", "verb"), CELLS)
def test_each_state_takes_only_the_verbs_of_the_table(status: Status, verb: Verb) -> None:
    row = able(status, verb)
    if verb in GRID[status]:
        moved = advance(row, verb, speaker(verb))
        assert (None if moved is None else moved.status) == GRID[status][verb]
    else:
        with pytest.raises(Refused):
            advance(row, verb, speaker(verb))


@pytest.mark.parametrize(("status", "verb"), CELLS)
def test_the_table_says_what_advance_does(status: Status, verb: Verb) -> None:
    rule = TRANSITIONS[verb]
    assert (status in rule.sources) == permits(able(status, verb), verb, speaker(verb)) == (verb in GRID[status])
    if status in rule.sources:
        moved = advance(able(status, verb), verb, speaker(verb))
        assert (None if moved is None else moved.status) == rule.target


def test_the_states_are_pending_held_or_terminal() -> None:
    assert sorted(Status) == sorted([*PENDING, *HELD, *TERMINAL])
    assert not PENDING & HELD
    assert not TERMINAL & (PENDING | HELD)


def test_nothing_leaves_a_terminal_state_but_replay_with_delete() -> None:
    leaving = {verb for verb in Verb if TRANSITIONS[verb].sources & TERMINAL}
    assert leaving == {Verb.REPLAY, Verb.DELETE}


def test_what_a_session_speaks_is_fenced() -> None:
    assert [verb for verb in Verb if TRANSITIONS[verb].fenced] == SPOKEN


@pytest.mark.parametrize("status", sorted(HELD))
@pytest.mark.parametrize("verb", SPOKEN)
@pytest.mark.parametrize(
    "act",
    [
        Act(session=OTHER, attempt=3),
        Act(session=WORKER, attempt=2),
        Act(session=OTHER, attempt=2),
        Act(session=WORKER, attempt=4),
        Act(attempt=3),
        Act(session=WORKER),
    ],
)
def test_what_another_session_or_attempt_says_is_stale(status: Status, verb: Verb, act: Act) -> None:
    with pytest.raises(Refused) as refused:
        advance(standing(status), verb, act)
    assert refused.value.reason is Refusal.STALE


@pytest.mark.parametrize("verb", SPOKEN)
def test_what_a_worker_says_of_a_pending_row_is_stale(verb: Verb) -> None:
    with pytest.raises(Refused, match="stale"):
        advance(lost(tries=1, counted=True), verb, Act(session=LOST, attempt=3))


@pytest.mark.parametrize("verb", SPOKEN)
def test_what_a_worker_says_of_a_cancelled_row_is_refused_as_cancelled(verb: Verb) -> None:
    with pytest.raises(Refused, match="cancelled"):
        advance(standing(Status.CANCELLED), verb, Act(session=WORKER, attempt=3))


def test_a_row_that_is_not_there_is_unknown() -> None:
    assert refusal(None) is Refusal.UNKNOWN


def test_a_second_complete_is_refused() -> None:
    ended = after(standing(Status.RUNNING), Verb.COMPLETE, Act(session=WORKER, attempt=3))
    with pytest.raises(Refused):
        advance(ended, Verb.COMPLETE, Act(session=WORKER, attempt=3))


def test_a_claim_begins_a_new_attempt_for_its_session() -> None:
    claimed = after(lost(tries=1, counted=True), Verb.CLAIM, Act(session=WORKER))
    assert (claimed.attempt, claimed.tries, claimed.claimed_by) == (4, 1, WORKER)
    assert (claimed.lost_by, claimed.lost_counted) == (None, False)


def test_a_row_that_is_not_ready_cannot_be_claimed() -> None:
    row = msgspec.structs.replace(standing(Status.PENDING), ready=False)
    with pytest.raises(Refused):
        advance(row, Verb.CLAIM, Act(session=WORKER))


def test_nobody_cannot_claim() -> None:
    assert not permits(standing(Status.PENDING), Verb.CLAIM, Act())


def test_start_is_idempotent() -> None:
    act = Act(session=WORKER, attempt=3)
    running = after(standing(Status.CLAIMED), Verb.START, act)
    assert after(running, Verb.START, act) == running
    assert running == standing(Status.RUNNING)


@pytest.mark.parametrize("counted", [True, False])
def test_adopt_takes_back_the_try_that_the_revert_counted(counted: bool) -> None:
    held = standing(Status.RUNNING, tries=1)
    reverted = after(held, Verb.REVERT, Act(session=WORKER, attempt=3, counts=counted))
    assert (reverted.tries, reverted.lost_by, reverted.lost_counted) == (1 + counted, WORKER, counted)
    assert after(reverted, Verb.ADOPT, Act(session=WORKER, attempt=3)) == standing(Status.CLAIMED, tries=1)


@pytest.mark.parametrize("act", [Act(session=OTHER, attempt=3), Act(session=LOST, attempt=2), Act(attempt=3)])
def test_only_the_session_that_lost_this_attempt_adopts_it(act: Act) -> None:
    with pytest.raises(Refused):
        advance(lost(tries=1, counted=True), Verb.ADOPT, act)


def test_a_row_that_nobody_lost_cannot_be_adopted() -> None:
    assert not permits(standing(Status.PENDING), Verb.ADOPT, Act(attempt=3))
    assert not permits(standing(Status.PENDING), Verb.ADOPT, Act(session=LOST, attempt=3))


def test_adopt_comes_too_late_after_a_new_claim() -> None:
    claimed = after(lost(tries=1, counted=True), Verb.CLAIM, Act(session=OTHER))
    with pytest.raises(Refused):
        advance(claimed, Verb.ADOPT, Act(session=LOST, attempt=3))


@pytest.mark.parametrize(("counts", "tries"), [(True, 2), (False, 1)])
def test_a_retry_waits_for_its_back_off(counts: bool, tries: int) -> None:
    retried = after(standing(Status.RUNNING, tries=1), Verb.RETRY, Act(session=WORKER, attempt=3, counts=counts))
    assert retried == Standing(attempt=3, tries=tries, ready=False)


@pytest.mark.parametrize("verb", [Verb.RETRY, Verb.REVERT])
def test_the_last_try_ends_in_error(verb: Verb) -> None:
    ended = after(standing(Status.RUNNING, tries=2), verb, Act(session=WORKER, attempt=3))
    assert ended == Standing(status=Status.ERROR, attempt=3, tries=3)
    assert TRANSITIONS[verb].last is Status.ERROR


@pytest.mark.parametrize("verb", [Verb.RETRY, Verb.REVERT])
def test_what_costs_no_try_never_ends_a_patient_task(verb: Verb) -> None:
    moved = after(standing(Status.RUNNING, tries=2), verb, Act(session=WORKER, attempt=3, counts=False))
    assert (moved.status, moved.tries) == (Status.PENDING, 2)


def test_a_429_ends_a_task_that_would_not_queue() -> None:
    row = standing(Status.RUNNING, max_tries=1, patient=False)
    ended = after(row, Verb.RETRY, Act(session=WORKER, attempt=3, counts=False))
    assert (ended.status, ended.tries) == (Status.ERROR, 0)


def test_a_revert_without_a_try_lets_a_task_that_would_not_queue_take_its_turn() -> None:
    row = standing(Status.RUNNING, max_tries=1, patient=False)
    moved = after(row, Verb.REVERT, Act(session=WORKER, attempt=3, counts=False))
    assert (moved.status, moved.ready, moved.lost_by) == (Status.PENDING, True, WORKER)


def test_a_give_back_costs_no_try_with_nobody_to_adopt_it() -> None:
    moved = after(standing(Status.CLAIMED, tries=2), Verb.GIVE_BACK, Act(session=WORKER, attempt=3))
    assert moved == standing(Status.PENDING, tries=2)


def test_a_cancel_forgets_who_lost_the_task() -> None:
    assert after(lost(tries=1, counted=True), Verb.CANCEL, Act()) == Standing(
        status=Status.CANCELLED, attempt=3, tries=1
    )


def test_a_task_that_its_worker_may_still_deliver_does_not_expire() -> None:
    with pytest.raises(Refused):
        advance(lost(tries=1, counted=True), Verb.EXPIRE, Act())


def test_only_a_call_that_would_not_queue_ends_unserved() -> None:
    with pytest.raises(Refused):
        advance(standing(Status.PENDING), Verb.UNSERVED, Act())
    assert after(standing(Status.PENDING, patient=False), Verb.UNSERVED, Act()).status is Status.ERROR


def test_a_task_in_its_back_off_expires() -> None:
    row = msgspec.structs.replace(standing(Status.PENDING), ready=False)
    assert after(row, Verb.EXPIRE, Act()).status is Status.ERROR


@pytest.mark.parametrize("status", [Status.ERROR, Status.CANCELLED])
def test_a_replay_begins_its_tries_anew_while_the_attempts_go_on(status: Status) -> None:
    assert after(standing(status, tries=3), Verb.REPLAY, Act()) == standing(Status.PENDING)


@pytest.mark.parametrize("verb", ENDS_OF_HELD)
def test_whatever_ends_an_attempt_leaves_no_holder(verb: Verb) -> None:
    assert after(standing(Status.RUNNING), verb, Act(session=WORKER, attempt=3)).claimed_by is None
