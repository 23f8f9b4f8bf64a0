"""Claims about any sequence of verbs: what never breaks, whoever says what in which order."""

from typing import TypeAlias

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from inferpool.core.ids import SessionId
from inferpool.core.lifecycle import HELD, TERMINAL, Act, Refused, Standing, Status, Verb, advance

SESSIONS = [SessionId("a"), SessionId("b")]

STEP = st.tuples(
    st.sampled_from(Verb),
    st.sampled_from([*SESSIONS, None]),
    st.integers(min_value=-1, max_value=0),
    st.booleans(),
)
"""A verb, who speaks, how far its attempt lies behind the row's, whether it costs a try."""

Steps: TypeAlias = list[tuple[Verb, SessionId | None, int, bool]]

ROW = st.builds(Standing, max_tries=st.integers(min_value=1, max_value=3), patient=st.booleans())


def step(row: Standing, spoken: tuple[Verb, SessionId | None, int, bool]) -> Standing | None:
    """The row after one thing that somebody says; the same row when it is refused."""
    verb, session, behind, counts = spoken
    try:
        return advance(row, verb, Act(session=session, attempt=row.attempt + behind, counts=counts))
    except Refused:
        return row


def waited(row: Standing) -> Standing:
    """The row once its back-off is over, which no verb says."""
    return msgspec.structs.replace(row, ready=True) if row.status is Status.PENDING else row


def check(row: Standing) -> None:
    """What holds of every row at every moment."""
    assert 0 <= row.tries <= row.attempt
    assert row.tries <= row.max_tries
    assert (row.claimed_by is not None) == (row.status in HELD)
    assert row.lost_by is None or row.status is Status.PENDING
    assert not row.lost_counted or row.lost_by is not None
    assert row.ready or row.status is Status.PENDING
    assert row.status is not Status.PENDING or row.tries < row.max_tries


@given(row=ROW, steps=st.lists(STEP, max_size=40))
@settings(deadline=None, print_blob=True)
def test_no_sequence_of_verbs_makes_an_illegal_row(row: Standing, steps: Steps) -> None:
    for spoken in steps:
        moved = step(row, spoken)
        if moved is None:
            assert row.status in TERMINAL
            return
        check(moved)
        row = waited(moved)


@given(row=ROW, steps=st.lists(STEP, max_size=40))
@settings(deadline=None, print_blob=True)
def test_attempts_rise_by_one_at_each_claim_alone(row: Standing, steps: Steps) -> None:
    for spoken in steps:
        moved = step(row, spoken)
        if moved is None:
            return
        assert moved.attempt == row.attempt + (spoken[0] is Verb.CLAIM and moved is not row)
        row = waited(moved)


@given(row=ROW, steps=st.lists(STEP, max_size=40))
@settings(deadline=None, print_blob=True)
def test_an_end_stays_until_a_replay(row: Standing, steps: Steps) -> None:
    for spoken in steps:
        moved = step(row, spoken)
        if moved is None:
            return
        if row.status in TERMINAL and spoken[0] is not Verb.REPLAY:
            assert moved is row
        assert (moved.patient, moved.max_tries) == (row.patient, row.max_tries)
        row = waited(moved)


@given(row=ROW, steps=st.lists(STEP, max_size=40))
@settings(deadline=None, print_blob=True)
def test_a_task_ends_once_between_two_replays(row: Standing, steps: Steps) -> None:
    ends = 0
    for spoken in steps:
        moved = step(row, spoken)
        if moved is None:
            return
        ends += moved.status in TERMINAL and moved is not row
        ends -= spoken[0] is Verb.REPLAY and moved is not row
        assert ends == (moved.status in TERMINAL)
        row = waited(moved)
