"""Claims about the sequence law."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inferpool.core.errors import InvalidRequest
from inferpool.core.stream import (
    END_SEQ,
    Course,
    Place,
    Stretch,
    Verdict,
    continue_from,
    judge_seq,
    pack_chunks,
    parse_event_id,
    unpack_chunks,
)

PLACES = st.builds(Place, st.integers(1, 10**18 - 1), st.integers(0, 10**18 - 1) | st.just(END_SEQ))


def shown(course: Course, lengths: dict[int, int], before: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What a watcher has on its screen after `course`, where each attempt has so many chunks."""
    screen = [] if course.reset else list(before)
    for stretch in course.stretches:
        last = min(stretch.last_seq, lengths[stretch.attempt])
        screen += [(stretch.attempt, seq) for seq in range(stretch.first_seq, last + 1)]
    return screen


@given(PLACES)
def test_an_event_id_names_its_place(place: Place) -> None:
    assert parse_event_id(place.event_id()) == place


def test_ids_look_as_the_spec_writes_them() -> None:
    ids = [Place(2, 17).event_id(), Place(2, END_SEQ).event_id(), Place(3, 0).event_id()]
    assert ids == ["2-17", "2-end", "3-0"]
    assert [parse_event_id(one).ended for one in ids] == [False, True, False]


@pytest.mark.parametrize(
    "event_id",
    [
        "",
        "2",
        "2-",
        "-2",
        "0-1",
        "02-1",
        "2-01",
        "2-ends",
        "2--1",
        " 2-1",
        "2-1\n",
        "a-b",
        "٢-1",
        "2-1-1",
        "1" * 19 + "-1",
    ],
)
def test_an_id_that_is_none_of_ours_is_refused(event_id: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_event_id(event_id)
    assert refused.value.param == "Last-Event-ID"


def test_the_end_stands_after_every_chunk_but_before_a_newer_attempt() -> None:
    assert Place(1, 10**18) < Place(1, END_SEQ) < Place(2, 0)


@pytest.mark.parametrize(
    ("have", "seq", "verdict"),
    [
        (0, 1, Verdict.ACCEPT),
        (7, 8, Verdict.ACCEPT),
        (7, 7, Verdict.REPEAT),
        (7, 1, Verdict.REPEAT),
        (0, 0, Verdict.REPEAT),
        (7, 9, Verdict.GAP),
        (0, 2, Verdict.GAP),
    ],
)
def test_only_the_next_chunk_is_accepted(have: int, seq: int, verdict: Verdict) -> None:
    assert judge_seq(have, seq) is verdict


def test_a_newcomer_gets_the_newest_attempt_from_its_first_chunk_without_a_reset() -> None:
    assert continue_from(None, 2) == Course(False, (Stretch(2, 1),))


def test_a_watcher_of_the_newest_attempt_goes_on_after_what_it_saw() -> None:
    assert continue_from(Place(2, 5), 2) == Course(False, (Stretch(2, 6),))


def test_a_watcher_that_saw_a_part_of_an_older_attempt_is_reset() -> None:
    assert continue_from(Place(1, 5), 2) == Course(True, (Stretch(2, 1),))


def test_a_watcher_that_saw_the_end_of_an_older_attempt_is_reset() -> None:
    assert continue_from(Place(1, END_SEQ), 2, [Place(1, 9)]) == Course(True, (Stretch(1, 1, 9), Stretch(2, 1)))


def test_a_watcher_that_saw_nothing_of_an_older_attempt_is_not_reset() -> None:
    assert continue_from(Place(1, 0), 2) == Course(False, (Stretch(2, 1),))


def test_a_watcher_that_names_an_attempt_of_the_future_is_reset() -> None:
    assert continue_from(Place(3, 2), 2) == Course(True, (Stretch(2, 1),))


def test_a_prefix_that_covers_all_that_was_seen_is_continued() -> None:
    assert continue_from(Place(1, 4), 2, [Place(1, 5)]) == Course(False, (Stretch(1, 5, 5), Stretch(2, 1)))
    assert continue_from(Place(1, 5), 2, [Place(1, 5)]) == Course(False, (Stretch(2, 1),))


def test_a_prefix_shorter_than_what_was_seen_is_not_continued() -> None:
    assert continue_from(Place(1, 6), 2, [Place(1, 5)]) == Course(True, (Stretch(1, 1, 5), Stretch(2, 1)))


@given(st.data())
def test_whatever_a_watcher_saw_its_screen_ends_as_a_newcomers(data: st.DataObject) -> None:
    attempt = data.draw(st.integers(1, 5), "newest attempt")
    lengths = {number: data.draw(st.integers(0, 6), f"chunks of {number}") for number in range(1, attempt + 1)}
    older = sorted(data.draw(st.sets(st.sampled_from(range(1, attempt)))) if attempt > 1 else [])
    prefix = [Place(number, data.draw(st.integers(0, lengths[number]))) for number in older]
    whole = shown(continue_from(None, attempt, prefix), lengths, [])
    seen = Place(data.draw(st.integers(1, 6), "seen attempt"), data.draw(st.integers(1, 7), "seen chunk"))
    assume(seen.attempt != attempt or seen.seq <= lengths[attempt])
    before = whole[: whole.index(seen) + 1] if seen in whole else [(seen.attempt, seen.seq)]
    course = continue_from(seen, attempt, prefix)
    assert course.reset is (seen not in whole)
    assert shown(course, lengths, before) == whole


@given(st.lists(st.text()))
def test_packed_chunks_come_back(chunks: list[str]) -> None:
    assert unpack_chunks(pack_chunks(chunks)) == chunks


def test_packing_a_long_stream_makes_it_much_smaller() -> None:
    chunks = [f'{{"id":"chatcmpl-1","choices":[{{"index":0,"delta":{{"content":" w{n}"}}}}]}}' for n in range(1000)]
    assert len(pack_chunks(chunks)) < sum(map(len, chunks)) / 8
