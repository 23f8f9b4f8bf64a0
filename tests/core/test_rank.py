"""Which rank a task gets, what a flow remembers for it."""

from bisect import insort

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferpool.core.lanes import SHARES, PriorityClass
from inferpool.core.rank import Ranker

PRIORITY, DEFAULT, FLEX, BATCH = PriorityClass
LANE = "pool:m"


def _flood(ranker: Ranker, owner: str, count: int, priority: PriorityClass = FLEX) -> list[float]:
    return [ranker.enqueue(LANE, owner, priority) for _ in range(count)]


@pytest.mark.parametrize("priority", list(PriorityClass))
def test_the_first_rank_is_one_step_of_its_class(priority: PriorityClass) -> None:
    assert Ranker().enqueue(LANE, "ann", priority) == 1 / SHARES[priority]


def test_cost_lengthens_a_step_which_weight_shortens() -> None:
    assert Ranker().enqueue(LANE, "ann", DEFAULT, cost=6.0, weight=2.0) == 6.0 / (2.0 * 4.0)


@pytest.mark.parametrize(("cost", "weight"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_a_step_that_leads_nowhere_is_refused(cost: float, weight: float) -> None:
    ranker = Ranker()
    with pytest.raises(ValueError, match="not positive"):
        ranker.enqueue(LANE, "ann", DEFAULT, cost, weight)
    assert ranker.flow_count() == 0


def test_inside_a_flow_the_order_is_first_in_first_out() -> None:
    ranks = _flood(Ranker(), "ann", 100)
    assert ranks == sorted(set(ranks))


def test_a_newcomer_starts_beside_a_flood() -> None:
    ranker = Ranker()
    flood = _flood(ranker, "ann", 10_000)
    ranker.claimed(LANE, "ann", FLEX, flood[0])
    assert ranker.enqueue(LANE, "bob", FLEX) == flood[1]


def test_lanes_have_clocks_of_their_own() -> None:
    ranker = Ranker()
    ranker.claimed(LANE, "ann", FLEX, 70.0)
    assert ranker.clock(LANE) == 70.0
    assert ranker.clock("pool:other") == 0.0
    assert ranker.enqueue("pool:other", "ann", FLEX) == 1.0


def test_a_clock_never_falls() -> None:
    ranker = Ranker()
    for rank in (5.0, 3.0, 4.0):
        ranker.claimed(LANE, "ann", FLEX, rank)
    ranker.restore_clock(LANE, 2.0)
    ranker.merge_clock(LANE, 1.0)
    assert ranker.clock(LANE) == 5.0


def test_withdrawn_tasks_are_not_paid_for() -> None:
    ranker = Ranker()
    flood = _flood(ranker, "ann", 1_000)
    for rank in flood:
        ranker.withdrawn(LANE, "ann", FLEX, rank)
    assert ranker.clock(LANE) == 0.0
    assert ranker.flow_count() == 0
    assert ranker.enqueue(LANE, "ann", FLEX) == flood[0]


def test_a_flow_stands_behind_its_last_task_that_was_not_withdrawn() -> None:
    ranker = Ranker()
    flood = _flood(ranker, "ann", 100)
    for rank in flood[:40] + flood[60:]:
        ranker.withdrawn(LANE, "ann", FLEX, rank)
    assert ranker.enqueue(LANE, "ann", FLEX) == flood[60]


def test_a_rank_that_is_not_pending_is_withdrawn_without_effect() -> None:
    ranker = Ranker()
    flood = _flood(ranker, "ann", 3)
    ranker.withdrawn(LANE, "bob", FLEX, 1.0)
    ranker.withdrawn("pool:other", "ann", FLEX, 1.0)
    for rank in (0.5, flood[1], flood[1], 99.0):
        ranker.withdrawn(LANE, "ann", FLEX, rank)
    assert ranker.enqueue(LANE, "ann", FLEX) == flood[2] + 1.0


def test_ranks_too_large_to_tell_apart_are_withdrawn_one_by_one() -> None:
    ranker = Ranker()
    ranker.restore_clock(LANE, 1e17)
    flood = _flood(ranker, "ann", 3)
    assert len(set(flood)) == 1
    ranker.restore_pending(LANE, "ann", FLEX, 2e17)
    ranker.restore_pending(LANE, "ann", FLEX, 1.5e17)
    ranker.restore_pending(LANE, "ann", FLEX, 1.5e17)
    ranker.withdrawn(LANE, "ann", FLEX, 1.5e17)
    ranker.withdrawn(LANE, "ann", FLEX, 2e17)
    assert ranker.enqueue(LANE, "ann", FLEX) == 1.5e17
    for _ in range(2):
        ranker.withdrawn(LANE, "ann", FLEX, 1.5e17)
    assert ranker.flow_count() == 0


def test_batch_is_one_flow_of_all_owners() -> None:
    ranker = Ranker()
    ranks = [ranker.enqueue(LANE, owner, BATCH) for owner in ("ann", "bob", "eve")]
    assert ranks == [25.0, 50.0, 75.0]
    assert ranker.flow_count() == 1
    ranker.withdrawn(LANE, "ann", BATCH, 75.0)
    assert ranker.enqueue(LANE, "bob", BATCH) == 75.0


def test_one_owners_classes_are_flows_of_their_own() -> None:
    ranker = Ranker()
    _flood(ranker, "ann", 50, BATCH)
    assert ranker.enqueue(LANE, "ann", PRIORITY) == 1 / 16
    assert ranker.flow_count() == 2


def test_a_returned_task_holds_up_nothing_of_its_flow() -> None:
    ranker = Ranker()
    flood = _flood(ranker, "ann", 3)
    for rank in flood:
        ranker.claimed(LANE, "ann", FLEX, rank)
    ranker.returned(LANE, "ann", FLEX, flood[0])
    assert ranker.enqueue(LANE, "ann", FLEX) == flood[2] + 1.0


def test_a_returned_task_proves_a_clock_that_was_read_back_too_old() -> None:
    ranker = Ranker()
    ranker.restore_clock(LANE, 10.0)
    ranker.returned(LANE, "ann", FLEX, 12.0)
    assert ranker.clock(LANE) == 12.0


def test_flows_vanish_with_their_last_pending_task_while_clocks_stay() -> None:
    ranker = Ranker()
    ranks = {owner: ranker.enqueue(LANE, owner, FLEX) for owner in map(str, range(100))}
    assert ranker.flow_count() == 100
    for owner, rank in ranks.items():
        ranker.claimed(LANE, owner, FLEX, rank)
    assert ranker.flow_count() == 0
    assert ranker.clock(LANE) == 1.0


def test_only_clocks_that_rose_are_written_once() -> None:
    ranker = Ranker()
    ranker.restore_clock("pool:old", 8.0)
    ranker.merge_clock("pool:far", 8.0)
    ranker.enqueue("pool:idle", "ann", FLEX)
    ranker.claimed("pool:b", "ann", FLEX, 2.0)
    ranker.claimed("pool:a", "ann", FLEX, 3.0)
    ranker.claimed("pool:a", "ann", FLEX, 4.0)
    ranker.claimed("pool:old", "ann", FLEX, 8.0)
    assert ranker.dirty_clocks() == [("pool:a", 4.0), ("pool:b", 2.0)]
    assert ranker.dirty_clocks() == []


def test_pending_tasks_are_read_back_in_any_order() -> None:
    ranker = Ranker()
    ranker.restore_clock(LANE, 2.0)
    for rank in (4.0, 1.0, 6.0, 5.0, 3.0):
        ranker.restore_pending(LANE, "ann", FLEX, rank)
    ranker.withdrawn(LANE, "ann", FLEX, 6.0)
    assert ranker.enqueue(LANE, "ann", FLEX) == 6.0
    assert ranker.enqueue(LANE, "bob", FLEX) == 3.0


def test_a_task_that_the_clock_passed_is_read_back_for_nothing() -> None:
    ranker = Ranker()
    ranker.restore_clock(LANE, 2.0)
    ranker.restore_pending(LANE, "ann", FLEX, 2.0)
    assert ranker.flow_count() == 0


def test_another_servers_clock_clears_what_it_claimed() -> None:
    ranker = Ranker()
    _flood(ranker, "ann", 10)
    _flood(ranker, "bob", 20)
    ranker.merge_clock(LANE, 15.0)
    assert ranker.flow_count() == 1
    assert ranker.enqueue(LANE, "ann", FLEX) == 16.0
    assert ranker.enqueue(LANE, "bob", FLEX) == 21.0


def test_what_was_added_elsewhere_is_summed_into_the_flow() -> None:
    ranker = Ranker()
    _flood(ranker, "ann", 10)
    ranker.added_elsewhere(LANE, "ann", FLEX, 10.0)
    ranker.added_elsewhere(LANE, "ann", FLEX, 5.0)
    assert ranker.enqueue(LANE, "ann", FLEX) == 26.0
    assert ranker.enqueue(LANE, "ann", FLEX) == 27.0
    assert ranker.enqueue(LANE, "bob", FLEX) == 1.0


def test_what_was_added_elsewhere_is_forgotten_once_the_clock_passed_it() -> None:
    ranker = Ranker()
    ranker.added_elsewhere(LANE, "ann", FLEX, 10.0)
    ranker.merge_clock(LANE, 9.0)
    assert ranker.flow_count() == 1
    ranker.merge_clock(LANE, 10.0)
    assert ranker.flow_count() == 0


def test_a_shared_ranker_tells_what_it_added() -> None:
    ranker = Ranker(shared=True)
    _flood(ranker, "ann", 3)
    ranker.enqueue(LANE, "ann", BATCH)
    ranker.enqueue(LANE, "bob", BATCH)
    assert ranker.added_here() == [(LANE, "ann", FLEX, 3.0), (LANE, "", BATCH, 50.0)]
    assert ranker.added_here() == []


def test_a_lone_ranker_keeps_no_account_for_others() -> None:
    ranker = Ranker()
    _flood(ranker, "ann", 3)
    assert ranker.added_here() == []


def test_flood_after_cancelled_flood_leaves_no_memory_behind() -> None:
    ranker = Ranker()
    for _ in range(100):
        for rank in _flood(ranker, "ann", 100)[:-1]:
            ranker.withdrawn(LANE, "ann", FLEX, rank)
    assert ranker.entry_count() < 500, "a hundred tasks are pending, ten thousand were cancelled"


def test_claims_in_order_leave_no_memory_behind() -> None:
    ranker = Ranker()
    flood = _flood(ranker, "ann", 10_000)
    for rank in flood[:9_900]:
        ranker.claimed(LANE, "ann", FLEX, rank)
    assert ranker.entry_count() < 500


class NaiveLane:
    """The rule as the specification words it, over a plain sorted list for each flow."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.pending: dict[str, list[float]] = {"ann": [], "bob": []}

    def enqueue(self, owner: str, cost: float) -> float:
        rank = max([self.clock, *self.pending[owner][-1:]]) + cost
        insort(self.pending[owner], rank)
        return rank

    def claim(self, owner: str, rank: float) -> None:
        self.pending[owner].remove(rank)
        self.clock = max(self.clock, rank)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["enqueue", "enqueue", "claim", "withdraw", "return", "restart"]),
            st.sampled_from(["ann", "bob"]),
            st.integers(0, 10_000),
        ),
        max_size=300,
    )
)
def test_ranks_are_those_of_the_plain_rule(steps: list[tuple[str, str, int]]) -> None:
    ranker, naive = Ranker(), NaiveLane()
    held: dict[str, list[float]] = {"ann": [], "bob": []}
    for step, owner, number in steps:
        pending = naive.pending[owner]
        if step == "enqueue":
            cost = 1.0 + number % 3
            assert ranker.enqueue(LANE, owner, FLEX, cost) == naive.enqueue(owner, cost)
        elif step == "restart":
            ranker = _read_back(ranker, naive)
        elif step == "return" and held[owner]:
            rank = held[owner].pop(number % len(held[owner]))
            ranker.returned(LANE, owner, FLEX, rank)
            insort(pending, rank)
        elif step == "claim" and pending:
            rank = pending[number % len(pending)]
            naive.claim(owner, rank)
            ranker.claimed(LANE, owner, FLEX, rank)
            held[owner].append(rank)
        elif step == "withdraw" and pending:
            rank = pending.pop(number % len(pending))
            ranker.withdrawn(LANE, owner, FLEX, rank)
        assert ranker.clock(LANE) == naive.clock


def _read_back(ranker: Ranker, naive: NaiveLane) -> Ranker:
    fresh = Ranker()
    fresh.restore_clock(LANE, ranker.clock(LANE))
    for owner, ranks in naive.pending.items():
        for rank in ranks:
            fresh.restore_pending(LANE, owner, FLEX, rank)
    return fresh


def test_a_lanes_end_is_the_highest_rank_given_since_it_was_empty() -> None:
    ranker = Ranker()
    assert ranker.end("pool:m") == 0.0
    first = ranker.enqueue("pool:m", "ann", PriorityClass.DEFAULT)
    last = ranker.enqueue("pool:m", "bob", PriorityClass.BATCH)
    assert ranker.end("pool:m") == last > first
    ranker.withdrawn("pool:m", "bob", PriorityClass.BATCH, last)
    assert ranker.end("pool:m") == last
    ranker.claimed("pool:m", "ann", PriorityClass.DEFAULT, first)
    assert ranker.end("pool:m") == ranker.clock("pool:m") == first


def test_a_lanes_end_is_read_back_with_its_tasks() -> None:
    ranker = Ranker()
    for rank in (3.0, 2.0):
        ranker.restore_pending("pool:m", "ann", PriorityClass.DEFAULT, rank)
    assert ranker.end("pool:m") == 3.0
