"""In which order an llm takes from its lanes."""

from collections import Counter

import pytest

from inferpool.core.lanes import PriorityClass
from inferpool.core.turns import Candidate, Turns

PRIORITY, DEFAULT, FLEX, BATCH = PriorityClass


def _tasks(lane: str, priority: PriorityClass, count: int) -> list[Candidate]:
    return [Candidate(f"{lane}{at}", float(at), priority) for at in range(count)]


def _ids(taken: list[Candidate]) -> list[str]:
    return [str(task.task_id) for task in taken]


def _lanes(taken: list[Candidate]) -> Counter[str]:
    return Counter(str(task.task_id)[0] for task in taken)


def test_equal_lanes_alternate_in_their_own_order() -> None:
    taken = Turns().take({"a": _tasks("a", DEFAULT, 5), "b": _tasks("b", DEFAULT, 5)}, 4)
    assert _ids(taken) == ["a0", "b0", "a1", "b1"]


def test_turns_go_on_over_calls() -> None:
    turns = Turns()
    candidates = {"a": _tasks("a", DEFAULT, 5), "b": _tasks("b", DEFAULT, 5)}
    taken = [turns.take(candidates, 1)[0] for _ in range(10)]
    assert [lane[0] for lane in _ids(taken)] == list("ababababab")


def test_ranks_of_different_lanes_are_not_compared() -> None:
    low = [Candidate(f"a{at}", 1.0, DEFAULT) for at in range(4)]
    high = [Candidate(f"b{at}", 1e9, DEFAULT) for at in range(4)]
    assert _lanes(Turns().take({"b": high, "a": low}, 4)) == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("first", "second", "relation"),
    [(PRIORITY, DEFAULT, 4), (DEFAULT, FLEX, 4), (PRIORITY, FLEX, 16), (FLEX, BATCH, 25)],
)
def test_lanes_of_two_classes_get_the_shares_of_these(
    first: PriorityClass, second: PriorityClass, relation: int
) -> None:
    turns = Turns()
    count: Counter[str] = Counter()
    for _ in range(1_000):
        count += _lanes(turns.take({"a": _tasks("a", second, 3), "b": _tasks("b", first, 3)}, 3))
    assert count["b"] / count["a"] == pytest.approx(relation, rel=0.05)


def test_what_is_missing_in_one_lane_another_gives() -> None:
    taken = Turns().take({"a": _tasks("a", FLEX, 1), "b": _tasks("b", BATCH, 3), "c": []}, 10)
    assert sorted(_ids(taken)) == ["a0", "b0", "b1", "b2"]


def test_nothing_is_taken_without_a_free_slot_or_a_task() -> None:
    assert Turns().take({"a": _tasks("a", FLEX, 1)}, 0) == []
    assert Turns().take({"a": []}, 3) == []
    assert Turns().take({}, 3) == []


def test_an_empty_lane_saves_up_no_turns() -> None:
    turns = Turns()
    turns.take({"a": _tasks("a", DEFAULT, 500)}, 500)
    taken = turns.take({"a": _tasks("a", DEFAULT, 50), "b": _tasks("b", DEFAULT, 50)}, 50)
    assert _lanes(taken) == {"a": 25, "b": 25}


def test_a_lane_that_took_an_idle_llm_does_not_pay_for_it_later() -> None:
    turns = Turns()
    turns.take({"a": _tasks("a", BATCH, 100)}, 100)
    taken = turns.take({"a": _tasks("a", DEFAULT, 200), "b": _tasks("b", DEFAULT, 200)}, 200)
    assert _lanes(taken)["a"] >= 49, "one batch turn (100 default ones) is still to be paid, not a hundred"


def test_a_lone_batch_task_is_taken_at_once() -> None:
    assert _ids(Turns().take({"a": _tasks("a", BATCH, 1), "b": []}, 1)) == ["a0"]
