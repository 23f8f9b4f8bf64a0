"""Claims about the sequence law."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferpool.core.errors import InvalidRequest
from inferpool.core.stream import (
    END_SEQ,
    Place,
    Verdict,
    judge_seq,
    pack_chunks,
    parse_event_id,
    unpack_chunks,
)

PLACES = st.builds(Place, st.integers(1, 10**18 - 1), st.integers(0, 10**18 - 1) | st.just(END_SEQ))


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


@given(st.lists(st.text()))
def test_packed_chunks_come_back(chunks: list[str]) -> None:
    assert unpack_chunks(pack_chunks(chunks)) == chunks


def test_packing_a_long_stream_makes_it_much_smaller() -> None:
    chunks = [f'{{"id":"chatcmpl-1","choices":[{{"index":0,"delta":{{"content":" w{n}"}}}}]}}' for n in range(1000)]
    assert len(pack_chunks(chunks)) < sum(map(len, chunks)) / 8
